"""A lock of a directory, which the system gives back with the process that holds it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from almaflow.errors import AlmaflowError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class BusyError(AlmaflowError):
    """Another process has the directory in hand."""


@contextmanager
def locked(directory: Path, busy: str) -> Iterator[None]:
    """Hold the lock of a directory within the block.

    Args:
        directory: Gets a file named ``lock``, for this user alone.
        busy: Tells the user that another process holds it, and what to do.

    Raises:
        BusyError: another process holds it.
    """
    lock = FileLock(directory / "lock", mode=0o600)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise BusyError(busy) from error
    try:
        yield
    finally:
        lock.release()
