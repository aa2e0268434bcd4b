"""Finds the exception of a chain, and the line of its text, that say what happened.

Converters wrap what went wrong: PyTorch's ONNX exporter begins with "step 1/3" and keeps the cause in ``__cause__``,
OpenVINO begins with places in its own source, dynamo names the backend first. The forms known here were provoked with
the versions in ``constraints/``; a text of no such form gives its first line.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import PurePath

WRAPPERS = frozenset(
    {
        "TorchExportError",  # torch.onnx: the cause is torch.export's error
        "ConversionError",  # torch.onnx: the node that was translated; the cause says what is missing
        "GraphConstructionError",  # torch.onnx: the same with all arguments of the node
        "UnsupportedOperatorException",  # torch's fake tensors: only the operator's name
    }
)
"""Exceptions whose cause says what happened; by name, since they are private to their libraries."""

DEEPEST = 20
"""Causes beyond this depth are not looked at."""

MOST_LINES = 3
"""Lines that are joined at most, where each announces the next."""

ANSI = re.compile(r"\x1b\[[0-9;]*m")
"""Escape sequences of the colours that converters put into their messages."""

UNTELLING = re.compile(
    r"Exception from \S+:\d+:$"  # OpenVINO, down to the next line
    r"|Check '.*' failed at \S+:\d+:?$"
    r"|FrontEnd API failed with \w+:$"
    r"|While validating node .*:$"
    r"|Couldn't get TorchScript module by \w+\.$"
    r"|Exception:$"
    r"|Failed to \w+ the .*[Tt]his is step \d/\d"  # PyTorch's ONNX exporter, down to its summary
    r"|## Exception summary$"
    r"|Tracing failed sanity checks!$"  # torch.jit.trace, above what differed
    r"|- (Modify the|Debug|Create an|If there is) "
)
"""Lines that say where in a converter it happened, or what to do in general."""

ANNOUNCES = re.compile(r".*(:|\bfor the following \w+)$")
"""A line that says nothing without the next one, as ONNX Runtime's "for the following indices"."""

TELLING = (
    re.compile(r"-- (?P<line>No conversion rule found for operations: .+)"),  # OpenVINO, below other operations' logs
    re.compile(r"(?:\S+: )?(?P<line>(?:fatal )?error: .+)"),  # a C++ compiler, below inductor's command line
    re.compile(r"(?P<line>Operator \S+ is not in Core ATen opset)"),  # ExecuTorch
    re.compile(r":(?P<line>[A-Z].+)"),  # torch.jit.trace, below the figures of a whole output
)
"""Lines that say more than those above them."""

SUMMARY = re.compile(r"<class '(?:[\w.]+\.)?(\w+)'>: (.+)")
"""A cause in the summary of PyTorch's ONNX exporter; the deepest comes first."""

RAISED = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*: \S.*")
"""The last line of a traceback, which TorchScript and child processes have in the text."""

CONTEXT = re.compile(r"Developer debug context: (.+)")
"""The operator, function or exception that dynamo met."""

PLACE = re.compile(r'File "([^"]+)", line (\d+)')
"""A place in Python code. Where a text has several, the last is the innermost."""

NATIVE_PLACE = re.compile(r"/\S+\.(?:cc|cpp|cu|h|hpp):\d+ [^()]*\((?:[^()]|\([^()]*\))*\)(?: const)? (?=\S)")
"""A place in ONNX Runtime's source, with the whole signature of the function."""

EXECUTORCH_CODE = re.compile(r"(failed with error (0x[0-9a-f]+))", re.IGNORECASE)

EXECUTORCH_ERRORS = {
    0x01: "Internal", 0x02: "InvalidState", 0x03: "EndOfMethod", 0x10: "NotSupported", 0x11: "NotImplemented",
    0x12: "InvalidArgument", 0x13: "InvalidType", 0x14: "OperatorMissing", 0x20: "NotFound",
    0x21: "MemoryAllocationFailed", 0x22: "AccessFailed", 0x23: "InvalidProgram", 0x25: "OutOfResources",
    0x30: "DelegateInvalidCompatibility", 0x31: "DelegateMemoryAllocationFailed", 0x32: "DelegateInvalidHandle",
}  # fmt: skip
"""Names of ExecuTorch's error codes (``runtime/core/error.h``), which its Python messages lack."""

TOO_LARGE = re.compile(r"failed to serialize proto|2 ?GB limit|maximum protobuf size|exceeds? .*2 ?GB", re.IGNORECASE)
TOO_LARGE_ADVICE = (
    "one ONNX file holds 2 GB at most: take a smaller model, one in half precision, or a conversion without ONNX"
)


def chain(error: BaseException) -> list[BaseException]:
    """Return the exception and its causes, the deepest last.

    A cause is what ``raise ... from`` names, or what dynamo keeps as ``inner_exception``. An exception that was only
    being handled when the next one was raised is the cause of a wrapper; elsewhere it is mostly an attempt that came
    before.
    """
    found: list[BaseException] = []
    following: object = error
    while isinstance(following, BaseException) and following not in found and len(found) < DEEPEST:
        found.append(following)
        following = _cause(following)
    return found


def _cause(error: BaseException) -> object:
    inner = getattr(error, "inner_exception", None)
    if isinstance(inner, BaseException):
        return inner
    if error.__suppress_context__ or not _wraps(error):
        return error.__cause__
    return error.__cause__ or error.__context__


def _wraps(error: BaseException) -> bool:
    return type(error).__name__ in WRAPPERS


def described(error: BaseException) -> str:
    """Return ``Type: line`` of what happened, and in parentheses the cause that it was raised from."""
    causes = chain(error)
    while len(causes) > 1 and _wraps(causes[0]):
        causes = causes[1:]
    line = _typed(causes[0])
    if len(causes) == 1:
        return line
    cause = _typed(causes[-1])
    told = text_of(causes[0])
    return line if telling_line(text_of(causes[-1])) in told or cause in line else f"{line} (from {cause})"


def _typed(error: BaseException) -> str:
    name, line = type(error).__name__, telling_line(text_of(error))
    return f"{name}: {line.removeprefix(f'{name}: ')}" if line else name


def text_of(error: BaseException) -> str:
    """Return the text of an exception, even of one that raises when it is asked."""
    try:
        return str(error)
    except Exception as other:  # noqa: BLE001 - converted code raises what it likes
        return f"its text raised {type(other).__name__}"


def printable(line: str) -> str:
    """Strip a line of what a terminal, a JSON file or a database could stumble over."""
    return "".join(character if character.isprintable() else " " for character in line).strip()


def telling_line(text: str) -> str:
    """Return the line of an exception's text that says what happened, with the place in the model if it is given."""
    raw = ANSI.sub("", text).splitlines()
    lines = [line for each in raw if (line := printable(each))]
    if not lines:
        return ""
    line = _chosen(raw, lines)
    context = [found[1] for each in lines if (found := CONTEXT.match(each))]
    details = [*context[:1], *_innermost_place(lines)]
    line = " ".join([line.removesuffix(":") if details else line, *(f"({each})" for each in details)])
    line = EXECUTORCH_CODE.sub(lambda code: f"{code[1]} ({_executorch(code[2])})", NATIVE_PLACE.sub("", line))
    return f"{line} ({TOO_LARGE_ADVICE})" if TOO_LARGE.search(line) else line


def _chosen(raw: list[str], lines: list[str]) -> str:
    for pattern in TELLING:
        if telling := next(filter(None, map(pattern.match, lines)), None):
            return telling["line"]
    if summary := next(filter(None, map(SUMMARY.match, lines)), None):
        return f"{summary[1]}: {summary[2]}"
    if any(line.startswith("Traceback") for line in raw) and (raised := [line for line in raw if RAISED.match(line)]):
        return printable(raised[-1])
    telling_lines = [line for line in lines if not UNTELLING.match(line)]
    first, *others = telling_lines or lines
    told = [first]
    # OpenVINO's log has two lines that announce the next one.
    while others and len(told) < MOST_LINES and ANNOUNCES.match(told[-1]) and not PLACE.search(others[0]):
        told.append(others.pop(0))
    return " ".join(told)


def _innermost_place(lines: list[str]) -> list[str]:
    """Return ``model.py:12: code`` of the innermost place in the text, or nothing."""
    places = [(place, code) for line, code in pairwise([*lines, ""]) if (place := PLACE.search(line))]
    if not places:
        return []
    place, code = places[-1]
    where = f"{PurePath(place[1]).name}:{place[2]}"
    return [where if not code or RAISED.fullmatch(code) else f"{where}: {code}"]


def _executorch(code: str) -> str:
    return EXECUTORCH_ERRORS.get(int(code, 16), "unknown")
