"""The failure of a worker that has ended without telling of one: what its exit code, its log and the disk say."""

from __future__ import annotations

import errno
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from almaflow.records import Failure, FailureKind
from almaflow.records.trouble import advised, disk_is_full, number_in, number_of

if TYPE_CHECKING:
    from pathlib import Path

LAST_WORDS_BYTES = 4096
"""End of the log that is searched for the machine's trouble: what was printed long before did not end the worker."""


def failure_of_end(code: int, phase: str, directory: Path, memory_mb: float) -> Failure:
    """Make the failure of a worker that ended with a code other than 0.

    Args:
        code: The exit code, negative for a signal.
        phase: The worker's last phase.
        directory: The worker's directory, with its log.
        memory_mb: The resident memory when the worker was last looked at.
    """
    number = number_of(code)
    if number == errno.ENOENT and directory.parent.exists():  # nobody removes only that but the worker itself
        return Failure(FailureKind.CRASHED, "the worker's directory was removed from within it", phase)
    if number is not None:
        return Failure(FailureKind.MACHINE, advised(_ended_for(number), number), phase)
    name = signal.Signals(-code).name if code < 0 else ""
    if name == "SIGKILL":
        # Nobody but the kernel sends it to a worker that we did not end.
        message = f"killed by the kernel at {memory_mb:.0f} MB, most likely for want of memory"
        return Failure(FailureKind.OUT_OF_MEMORY, message, phase)
    message = f"the worker was killed by {name}" if name else f"the worker exited with code {code}"
    number = number_in(_last_words(directory / "worker.log"))
    if number is None and disk_is_full(directory):
        number = errno.ENOSPC
    if number is None:
        return Failure(FailureKind.CRASHED, message, phase)
    return Failure(FailureKind.MACHINE, advised(f"{message}: {os.strerror(number)}", number), phase)


def _ended_for(number: int) -> str:
    """Tell why the worker could not go on."""
    own = {
        errno.ECHILD: "the process that starts the workers was killed",
        errno.ENOENT: "the job's directory was removed",
    }
    return own.get(number) or f"the worker could not keep its result: {os.strerror(number)}"


def _last_words(log: Path) -> str:
    """Return the end of the log; empty where there is none."""
    with suppress(OSError), log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - LAST_WORDS_BYTES))
        return stream.read().decode("utf-8", "replace")
    return ""
