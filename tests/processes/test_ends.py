"""How a worker ended says whose trouble it was: its own, the kernel's want of memory, or the machine's."""

from __future__ import annotations

import errno
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from almaflow.processes.ends import failure_of_end
from almaflow.records import Failure, FailureKind
from almaflow.records.trouble import exit_code

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "conversion" / "work"
    place.mkdir(parents=True)
    return place


def end(code: int, directory: Path) -> Failure:
    return failure_of_end(code, "convert", directory, 599.0)


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (
            exit_code(errno.ENOSPC),
            FailureKind.MACHINE,
            "No space left on device; free some space and go on with resume",
        ),
        (exit_code(errno.ECHILD), FailureKind.MACHINE, "the process that starts the workers was killed"),
        (-signal.SIGKILL, FailureKind.OUT_OF_MEMORY, "killed by the kernel at 599 MB"),
        (-signal.SIGABRT, FailureKind.CRASHED, "the worker was killed by SIGABRT"),
        (3, FailureKind.CRASHED, "the worker exited with code 3"),
    ],
)
def test_the_exit_code_tells_it(directory: Path, code: int, kind: FailureKind, message: str) -> None:
    failure = end(code, directory)
    assert (failure.kind, failure.phase) == (kind, "convert")
    assert message in failure.message


def test_a_directory_that_is_gone_is_the_workers_doing_only_where_the_job_still_has_its_own(directory: Path) -> None:
    code = exit_code(errno.ENOENT)
    shutil.rmtree(directory)
    assert end(code, directory).kind is FailureKind.CRASHED
    shutil.rmtree(directory.parent)
    failure = end(code, directory)
    assert failure.kind is FailureKind.MACHINE
    assert failure.message.startswith("the job's directory was removed; ")


def test_the_last_words_of_native_code_tell_it(directory: Path) -> None:
    words = "terminate called after throwing std::system_error\n  what():  Resource temporarily unavailable\n"
    (directory / "worker.log").write_text("x" * 10_000 + words, encoding="utf-8")
    assert end(-signal.SIGABRT, directory).kind is FailureKind.MACHINE
    assert end(-signal.SIGKILL, directory).kind is FailureKind.OUT_OF_MEMORY


def test_what_was_said_long_before_does_not(directory: Path) -> None:
    (directory / "worker.log").write_text("No space left on device, trying another place\n" + "x" * 10_000)
    assert end(-signal.SIGSEGV, directory).kind is FailureKind.CRASHED


def test_a_crash_on_a_full_disk_is_the_disks(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("usage", (), {"free": 0})
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage)
    failure = end(-signal.SIGBUS, directory)
    assert failure.kind is FailureKind.MACHINE
    assert "killed by SIGBUS: No space left on device; free some space" in failure.message
