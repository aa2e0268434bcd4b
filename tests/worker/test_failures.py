"""Each exception gets the class that says what to do about it, and one line that says what happened."""

from __future__ import annotations

import errno
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almaflow.records import FailureKind
from almaflow.worker.failures import MESSAGE_LIMIT, FellBackError, WrongOutputError, classify, headline


def named(name: str, base: type[BaseException] = RuntimeError) -> type[BaseException]:
    """An exception class as a library that is not imported here has it."""
    return type(name, (base,), {})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FellBackError("inductor ran it"), FailureKind.FELL_BACK),
        (WrongOutputError("out of memory is what the output says"), FailureKind.WRONG_OUTPUT),
        (MemoryError(), FailureKind.OUT_OF_MEMORY),
        (named("OutOfMemoryError")("CUDA"), FailureKind.OUT_OF_MEMORY),
        (RuntimeError("CUDA out of memory. Tried to allocate 20 GiB"), FailureKind.OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), FailureKind.OUT_OF_MEMORY),
        (OSError(12, "Cannot allocate memory"), FailureKind.OUT_OF_MEMORY),
        (RuntimeError("bfc_arena: Failed to allocate memory for requested buffer"), FailureKind.OUT_OF_MEMORY),
        (RuntimeError("std::bad_alloc"), FailureKind.OUT_OF_MEMORY),
        (ImportError("no name x"), FailureKind.MISSING_DEPENDENCY),
        (ModuleNotFoundError("No module named 'tvm'"), FailureKind.MISSING_DEPENDENCY),
        (RuntimeError("TVM backend is not available"), FailureKind.MISSING_DEPENDENCY),
        (RuntimeError("X is not available. Please install it"), FailureKind.MISSING_DEPENDENCY),
        (NotImplementedError("no kernel"), FailureKind.UNSUPPORTED),
        (named("Unsupported")("graph break"), FailureKind.UNSUPPORTED),
        (named("Special", named("UserError"))("cannot trace"), FailureKind.UNSUPPORTED),
        (named("UnsupportedOperatorError")("aten::x"), FailureKind.UNSUPPORTED),
        (named("NotImplemented")("ConvInteger"), FailureKind.UNSUPPORTED),
        (OSError(errno.ENOSPC, "No space left on device", "x.onnx"), FailureKind.MACHINE),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), FailureKind.MACHINE),
        (OSError(errno.EROFS, "Read-only file system"), FailureKind.MACHINE),
        (OSError(errno.EMFILE, "Too many open files"), FailureKind.MACHINE),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), FailureKind.MACHINE),
        (RuntimeError("can't start new thread"), FailureKind.MACHINE),
        (OSError("73728 requested and 31904 written"), FailureKind.MACHINE),
        (RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 704 vs 598"), FailureKind.MACHINE),
        (RuntimeError("cannot write model.xml: [Errno 28] No space left on device"), FailureKind.MACHINE),
        (named("InductorError")("ImportError: x.so: write failed: No space left on device"), FailureKind.MACHINE),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), FailureKind.ERROR),
        (PermissionError(errno.EACCES, "Permission denied"), FailureKind.ERROR),
        (ValueError("no"), FailureKind.ERROR),
        (SystemExit(3), FailureKind.ERROR),
        (KeyboardInterrupt(), FailureKind.ERROR),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value),
)
def test_each_class(error: BaseException, kind: FailureKind) -> None:
    failure = classify(error, "convert")
    assert failure.kind is kind
    assert failure.phase == "convert"
    assert failure.message.startswith(type(error).__name__)
    assert failure.traceback is not None
    assert type(error).__name__ in failure.traceback


def test_a_full_disk_deep_in_the_causes_says_what_to_do() -> None:
    wrapper = named("TorchExportError")("Failed to export the model. This is step 1/3")
    wrapper.__cause__ = RuntimeError("the weights could not be saved")
    wrapper.__cause__.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    failure = classify(wrapper, "convert")
    assert failure.kind is FailureKind.MACHINE
    assert failure.message.endswith("; free some space and go on with resume=true")
    assert "\n" not in failure.message


def test_whatever_is_raised_on_a_full_disk_is_the_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert classify(RuntimeError("the archive is broken"), "convert").kind is FailureKind.ERROR
    usage = type("usage", (), {"free": 0})
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage)
    failure = classify(RuntimeError("the archive is broken"), "convert")
    assert failure.kind is FailureKind.MACHINE
    assert failure.message == "RuntimeError: the archive is broken; free some space and go on with resume=true"
    assert classify(ImportError("no name x"), "convert").kind is FailureKind.MISSING_DEPENDENCY


def test_the_traceback_leads_to_the_line_and_its_cause() -> None:
    with pytest.raises(WrongOutputError) as caught:
        _raise_with_a_cause()
    traceback = classify(caught.value, "check").traceback
    assert traceback is not None
    assert "_raise_with_a_cause" in traceback
    assert "ValueError: invalid literal" in traceback


def _raise_with_a_cause() -> None:
    try:
        int("the cause")
    except ValueError as error:
        raise WrongOutputError from error


def test_the_headline_is_the_first_line_without_colours() -> None:
    assert headline(ValueError("\n\n  \x1b[31mred\x1b[0m alert \nsecond")) == "ValueError: red alert"
    assert headline(ValueError()) == "ValueError"
    assert headline(ValueError("\n \t ")) == "ValueError"
    assert headline(ValueError("a\x00b\x07c")) == "ValueError: a b c"
    cut = headline(ValueError("x" * 1000))
    assert len(cut) == MESSAGE_LIMIT
    assert cut.endswith("...")
    words = headline(ValueError("several words " * 100))
    assert len(words) <= MESSAGE_LIMIT
    assert words.endswith((" words...", " several..."))


@given(st.text())
def test_any_text_gives_one_short_line_that_can_be_written_anywhere(text: str) -> None:
    failure = classify(ValueError(text), "load")
    assert failure.message.isprintable()
    assert len(failure.message) <= MESSAGE_LIMIT
    failure.message.encode()
    assert failure.traceback is not None
    failure.traceback.encode()


def test_an_exception_that_cannot_say_what_it_is_has_a_class_all_the_same() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    failure = classify(MuteError(), "measure")
    assert failure.kind is FailureKind.ERROR
    assert failure.message == "MuteError: its text raised ZeroDivisionError"
