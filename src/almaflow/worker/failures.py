"""Turns an exception into the failure class that a user can act on."""

from __future__ import annotations

import re
import traceback

from almaflow.records import Failure, FailureKind

MESSAGE_LIMIT = 400

ANSI = re.compile(r"\x1b\[[0-9;]*m")
"""Escape sequences of the colours that converters put into their messages."""

UNSUPPORTED_NAMES = frozenset(
    {
        "Unsupported",  # torch._dynamo.exc
        "UserError",  # torch._dynamo.exc, raised by torch.export for models it cannot trace
        "UnsupportedOperatorError",  # torch.onnx.errors
        "UnsupportedFakeTensorException",
        "NotImplemented",  # onnxruntime.capi
    }
)
"""Names of exceptions for what a library does not support; by name, since they cannot all be imported."""

OUT_OF_MEMORY_TEXTS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "failed to allocate memory",
    "std::bad_alloc",
)

MISSING_TEXTS = ("is not available. please install", "backend is not available", "need to install all dependencies")
"""Texts of Alma's own checks for what is not installed."""


class FellBackError(Exception):
    """Raised where something else ran in place of what the conversion names."""


class WrongOutputError(Exception):
    """Raised where the output is missing or too far from eager's."""


def classify(error: BaseException, phase: str) -> Failure:
    """Make a failure of an exception: its class, the line that matters and the whole traceback."""
    return Failure(
        kind=_kind(error),
        message=headline(error),
        phase=phase,
        # A lone surrogate cannot be written as UTF-8.
        traceback="".join(traceback.format_exception(error)).encode("utf-8", "replace").decode(),
    )


def headline(error: BaseException) -> str:
    """Return ``Type: first line`` of an exception, short enough for a table."""
    lines = [printable(line) for line in ANSI.sub("", _text(error)).splitlines() if printable(line)]
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - 3] + "..."


def printable(line: str) -> str:
    """Strip a line of what a terminal, a JSON file or a database could stumble over."""
    return "".join(character if character.isprintable() else " " for character in line).strip()


def _text(error: BaseException) -> str:
    """Return the text of an exception, even of one that raises when it is asked."""
    try:
        return str(error)
    except Exception as other:  # noqa: BLE001 - converted code raises what it likes
        return f"its text raised {type(other).__name__}"


def _kind(error: BaseException) -> FailureKind:
    if isinstance(error, FellBackError):
        return FailureKind.FELL_BACK
    if isinstance(error, WrongOutputError):
        return FailureKind.WRONG_OUTPUT
    text = _text(error).lower()
    names = {cls.__name__ for cls in type(error).__mro__}
    if isinstance(error, MemoryError) or "OutOfMemoryError" in names or any(t in text for t in OUT_OF_MEMORY_TEXTS):
        return FailureKind.OUT_OF_MEMORY
    if isinstance(error, ImportError) or any(t in text for t in MISSING_TEXTS):
        return FailureKind.MISSING_DEPENDENCY
    if isinstance(error, NotImplementedError) or names & UNSUPPORTED_NAMES:
        return FailureKind.UNSUPPORTED
    return FailureKind.ERROR
