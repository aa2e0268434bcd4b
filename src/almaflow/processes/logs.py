"""The reason for a child's end: the last line that it said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.records.protocol import BAD_INPUT
from almaflow.secrets import mask

if TYPE_CHECKING:
    from pathlib import Path

REASON_LENGTH = 300

SAYS_WHY = (1, BAD_INPUT)
"""Exit codes of a child whose last line is the reason: Python's own for an exception, and ours for bad input."""


def last_line(log: Path | str) -> str:
    """The last line of a file or text that says something, at most 300 characters of it; empty where none does."""
    text = log if isinstance(log, str) else log.read_text(encoding="utf-8", errors="replace")
    return next((mask(line.strip())[:REASON_LENGTH] for line in reversed(text.splitlines()) if line.strip()), "")


def reason_of(code: int | None, log: Path | str) -> str:
    """One line on why a child with that exit code and standard error has ended; None: it only speaks no more."""
    last = last_line(log)
    if code in SAYS_WHY and last:
        return last
    ended = "its process has closed its output" if code is None else f"its process ended with {code}"
    return f"{ended}: {last}" if last else ended
