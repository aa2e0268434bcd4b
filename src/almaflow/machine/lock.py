"""A lock that lets only one job at a time measure on a machine.

Two jobs on the same cores run at far less than half the speed each, since thread pools spin for each other (resnet18
eager on two cores: 25 ms alone, 112 and 276 ms beside compilers and tests). So a job holds a lock of the whole
machine, whoever runs it, wherever its home is, and whatever directory it has for temporary files.

The lock is the name of a socket that is in no directory (an abstract one, see unix(7)): who has bound it holds it, and
the system frees it when the process is gone. A file would have to be in a directory that all users share and that no
batch system replaces by one of the job's own, and another user could put something else in its place. Such names
belong to the network namespace, so containers with networks of their own do not see each other's.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from almaflow.errors import AlmaflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOCK_NAME = "almaflow-measuring"
NAME_FOR_TESTS = "ALMAFLOW_TEST_LOCK"
"""Environment variable with another name for the lock, so that tests do not wait for jobs, nor for other tests."""

POLL_S = 1.0


@contextmanager
def alone(mode: str, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Let no other job measure on this machine while the block runs.

    Args:
        mode: What to do while another one measures: ``wait``, ``refuse``, or ``ignore`` it, which takes no lock.
        on_wait: Called with a line for the user before it waits.

    Raises:
        AlmaflowError: another job measures, and the mode is ``refuse``; or this system has no such lock.
    """
    if mode == "ignore":
        yield
        return
    with socket.socket(socket.AF_UNIX) as lock:
        if not _taken(lock):
            if mode == "refuse":
                message = (
                    "another almaflow job measures on this machine; try again later, or take measure.exclusive=wait"
                )
                raise AlmaflowError(message)
            on_wait("another almaflow job measures on this machine: waiting for its end (measure.exclusive=wait)")
            while not _taken(lock):
                time.sleep(POLL_S)
        yield


def _taken(lock: socket.socket) -> bool:
    """Take the lock by binding its name; False where another process has it."""
    try:
        lock.bind("\0" + os.environ.get(NAME_FOR_TESTS, LOCK_NAME))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        message = (
            f"it cannot be made sure that no other job measures on this machine ({error.strerror}); "
            "measure.exclusive=ignore goes on without"
        )
        raise AlmaflowError(message) from error
    return True
