"""A lock that lets only one job at a time measure on a machine.

Two jobs on the same cores run at far less than half the speed each, since thread pools spin for each other (resnet18
eager on two cores: 25 ms alone, 112 and 276 ms beside compilers and tests). So a job holds a lock of the whole
machine, whoever runs it and wherever its home is; the system gives the lock back when the process is gone.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from almaflow.errors import AlmaflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOCK_NAME = "almaflow-measuring.lock"
FOR_EVERYBODY = 0o666
POLL_S = 1.0


def lock_path() -> Path:
    """Return the lock file, in the directory for temporary files that all users share."""
    return Path(tempfile.gettempdir()) / LOCK_NAME


@contextmanager
def alone(mode: str, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Let no other job measure on this machine while the block runs.

    Args:
        mode: What to do while another one measures: ``wait``, ``refuse``, or ``ignore`` it, which takes no lock.
        on_wait: Called with a line for the user before it waits.

    Raises:
        AlmaflowError: another job measures, and the mode is ``refuse``.
    """
    if mode == "ignore":
        yield
        return
    lock = FileLock(lock_path(), mode=FOR_EVERYBODY)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        if mode == "refuse":
            message = "another almaflow job measures on this machine; try again later, or take measure.exclusive=wait"
            raise AlmaflowError(message) from error
        on_wait("another almaflow job measures on this machine: waiting for its end (measure.exclusive=wait)")
        lock.acquire(poll_interval=POLL_S)
    try:
        yield
    finally:
        lock.release()
