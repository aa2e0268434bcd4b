"""Turns an exception into the failure class that a user can act on."""

from __future__ import annotations

import errno
import traceback
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow.errors import shortened
from almaflow.records import Failure, FailureKind
from almaflow.records.trouble import TEXTS, advised, disk_is_full, number_in
from almaflow.secrets import mask
from almaflow.worker.error_text import chain, described, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.records import PlannedConversion

MESSAGE_LIMIT = 400

UNSUPPORTED_NAMES = frozenset(
    {
        "UserError",  # torch._dynamo.exc, raised by torch.export for models it cannot trace
        "GuardOnDataDependentSymNode",  # torch.export, at a decision by values
        "ConstraintViolationError",  # torch.compile, where the model fixes a dynamic dimension
        "TraceError",  # torch.fx, the same
        "DispatchError",  # torch.onnx, at an operator that it does not translate
        "OpConversionFailure",  # openvino, the same
        "SpecViolationError",  # executorch, the same
    }
)
"""Names of exceptions for what a library does not support; by name, since they cannot all be imported."""

UNSUPPORTED_PREFIXES = ("Unsupported", "NotSupported", "NotImplemented")
"""How other such names begin: dynamo's ``Unsupported``, ONNX Runtime's ``NotImplemented``, NNCF's and TorchScript's."""

UNSUPPORTED_TEXTS = (
    "no conversion rule found for operations",  # openvino, where its exception was wrapped
    "no onnx function found for",  # torch.onnx, the same
    "is not a registered function/op",  # onnxruntime
    "invalid_graph : this is an invalid model. type error: type 'tensor(",  # onnxruntime, for a type of an operator
    "missing out variants",  # executorch, at a custom operator
    "(notsupported)",
    "(notimplemented)",
    "(operatormissing)",
    "compute capability",  # torchao, on another device than it needs
)

OUT_OF_MEMORY_TEXTS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "failed to allocate memory",
    "std::bad_alloc",
    "memoryallocationfailed",  # executorch
)

MISSING_TEXTS = (
    "is not available. please install",  # Alma's own checks for what is not installed
    "backend is not available",
    "need to install all dependencies",
    "no working c++ compiler",  # inductor
    "cannot open shared object file",
)

ONNX_ROUTE = (("torch",), ("onnxscript",), ("onnxruntime", "onnxruntime-gpu"))
"""The distributions that decide what a model becomes in ONNX; of several, the first that is installed."""


class FellBackError(Exception):
    """Raised where something else ran in place of what the conversion names."""


class WrongOutputError(Exception):
    """Raised where the output is missing or too far from eager's."""


class FixedSizeError(NotImplementedError):
    """Raised where a conversion fails at a size that was to be possible."""


def classify(error: BaseException, phase: str, planned: PlannedConversion | None = None) -> Failure:
    """Make a failure of an exception: its class, the line that matters and the whole traceback.

    Args:
        error: The exception.
        phase: The phase of the worker in which it was raised.
        planned: The conversion; a wrong output of one through ONNX names the versions that made it.
    """
    kind = _kind(error)
    versions = versions_of(planned) if planned and kind is FailureKind.WRONG_OUTPUT else ""
    message, number = headline(error, versions), _number(error)
    if kind is FailureKind.ERROR and disk_is_full(Path()):
        kind, number = FailureKind.MACHINE, errno.ENOSPC
    if kind is FailureKind.MACHINE:
        message = advised(message, number)
    return Failure(
        kind=kind,
        message=message,
        phase=phase,
        # A lone surrogate cannot be written as UTF-8.
        traceback="".join(traceback.format_exception(error)).encode("utf-8", "replace").decode(),
    )


def headline(error: BaseException, versions: str = "") -> str:
    """Return ``Type: line`` of what happened, short enough for a table, with the versions behind it."""
    addition = f" ({versions})" if versions else ""
    # Masked first: half a secret is not recognised.
    return shortened(mask(described(error)), MESSAGE_LIMIT - len(addition)) + addition


def versions_of(planned: PlannedConversion) -> str:
    """Return exporter and runtime of a conversion through ONNX, as ``torch 2.14.1, onnxscript 0.7.2, ...``; else "".

    The exporter is in two of them, and an output that one pair of versions gets wrong another may get right.
    """
    if "onnxruntime" not in planned.traits.runtimes:
        return ""
    found = [_version(names) for names in ONNX_ROUTE]
    return ", ".join(filter(None, found))


def _version(names: tuple[str, ...]) -> str | None:
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            return f"{name} {metadata.version(name)}"
    return None


def _kind(error: BaseException) -> FailureKind:
    """Return the class of an exception, or of what caused it."""
    if isinstance(error, FellBackError | WrongOutputError):
        return FailureKind.FELL_BACK if isinstance(error, FellBackError) else FailureKind.WRONG_OUTPUT
    if _number(error) is not None:
        return FailureKind.MACHINE
    causes = chain(error)
    text = _text(causes)
    names = {cls.__name__ for cause in causes for cls in type(cause).__mro__}
    if "MemoryError" in names or "OutOfMemoryError" in names or _any(OUT_OF_MEMORY_TEXTS, text):
        return FailureKind.OUT_OF_MEMORY
    if "ImportError" in names or _any(MISSING_TEXTS, text):
        return FailureKind.MISSING_DEPENDENCY
    if (
        names & UNSUPPORTED_NAMES
        or any(name.startswith(UNSUPPORTED_PREFIXES) for name in names)
        or _any(UNSUPPORTED_TEXTS, text)
    ):
        return FailureKind.UNSUPPORTED
    return FailureKind.ERROR


def _number(error: BaseException) -> int | None:
    """Return the error number of the machine's own trouble, from an exception, a cause of it, or what they say."""
    causes = chain(error)
    raised = (cause.errno for cause in causes if isinstance(cause, OSError))
    return next((number for number in raised if number in TEXTS.values()), None) or number_in(_text(causes))


def _text(causes: Sequence[BaseException]) -> str:
    return "\n".join([*map(text_of, causes), *map(described, causes)]).lower()


def _any(texts: tuple[str, ...], within: str) -> bool:
    return any(text in within for text in texts)
