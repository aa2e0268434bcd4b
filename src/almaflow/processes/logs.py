"""Logs of child processes: kept within a bound, and read for the reason of a child's end."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from almaflow.records.protocol import BAD_INPUT
from almaflow.secrets import mask

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_LOG = 3_000_000
"""Bytes; a log that has grown longer is cut."""

KEPT = 1_000_000
"""Bytes that are kept of its beginning, and of its end."""

LAST_LINES = 65_536
"""Bytes in which the last line of a log is looked for."""

REASON_LENGTH = 300

SAYS_WHY = (1, BAD_INPUT)
"""Exit codes of a child whose last line is the reason: Python's own for an exception, and ours for bad input."""


class BoundedLog:
    """A file that a child appends to, and whose middle is cut out when it has grown too long.

    Children that print without end fill neither the disk nor the store then. The file is held by its descriptor, so
    that a child may remove or replace it.
    """

    def __init__(self, path: Path) -> None:
        """Make the file anew."""
        # Appended to by all: after a cut the child goes on at the new end.
        self._file = path.open("a+b", buffering=0)
        self._file.truncate(0)
        self._cut = 0
        self._begin_of_rest = KEPT

    @property
    def descriptor(self) -> int:
        """What the child writes to."""
        return self._file.fileno()

    def trim(self) -> None:
        """Cut out the middle where the file has grown too long, and say there how much that was."""
        with suppress(OSError):  # a full disk
            size = os.fstat(self.descriptor).st_size
            if size <= LONGEST_LOG:
                return
            end = os.pread(self.descriptor, KEPT, size - KEPT)
            size = os.fstat(self.descriptor).st_size  # it may have grown meanwhile, which is cut out too
            self._cut += size - KEPT - self._begin_of_rest
            line = f"\n[almaflow: {self._cut} bytes cut out here, of a log that grew too long]\n".encode()
            os.ftruncate(self.descriptor, KEPT)
            os.write(self.descriptor, line + end)
            self._begin_of_rest = KEPT + len(line)

    def close(self) -> None:
        """Cut it for the last time. May be called again."""
        if not self._file.closed:
            self.trim()
        self._file.close()


def last_line(log: Path | str) -> str:
    """The last line of a file or text that says something, at most 300 characters of it; empty where none does."""
    text = log if isinstance(log, str) else _end_of(log)
    return next((mask(line.strip())[:REASON_LENGTH] for line in reversed(text.splitlines()) if line.strip()), "")


def _end_of(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_LINES))
        return file.read(LAST_LINES).decode("utf-8", "replace")


def reason_of(code: int | None, log: Path | str) -> str:
    """One line on why a child with that exit code and standard error has ended; None: it only speaks no more."""
    last = last_line(log)
    if code in SAYS_WHY and last:
        return last
    ended = "its process has closed its output" if code is None else f"its process ended with {code}"
    return f"{ended}: {last}" if last else ended
