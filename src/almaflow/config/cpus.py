"""Lists of processors as users write them: numbers, and ranges in taskset's syntax."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

HIGHEST = 8191
"""Linux knows no more than 8192 processors; with a limit, a typing error does not become a list of billions."""

_PART = re.compile(r"(?P<first>\d{1,9})(?:-(?P<last>\d{1,9})(?::(?P<step>\d{1,9}))?)?", re.ASCII)


def parse_cpus(cpus: Any) -> tuple[int, ...] | None:
    """Return the numbers of the named processors, sorted, each once.

    Args:
        cpus: a number, text such as ``0-3,6`` or ``0-14:2`` (every second one), a list of these, or None.

    Returns:
        One number or more; None for None.

    Raises:
        ValueError: ``cpus`` is something else, names no processor, or a number is too high. The text says what it
            has to be.
    """
    if cpus is None:
        return None
    parts = cpus if isinstance(cpus, (list, tuple)) else [cpus]
    numbers = {cpu for part in parts for piece in _pieces(part) for cpu in _range(piece)}
    if not numbers:
        message = "must name at least one CPU, e.g. [0,2] or [0-3,6]"
        raise ValueError(message)
    return tuple(sorted(numbers))


def format_cpus(cpus: Iterable[int]) -> str:
    """Return the shortest text of these processors without steps: ``0-3,6``."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and cpu == runs[-1][-1] + 1:
            runs[-1][1:] = [cpu]
        else:
            runs.append([cpu])
    return ",".join("-".join(map(str, run)) for run in runs)


def _pieces(part: Any) -> list[str]:
    if isinstance(part, bool) or not isinstance(part, (int, str)):
        message = f"{part!r} is no CPU: must be numbers and ranges, e.g. [0,2] or [0-3,6]"
        raise ValueError(message)  # noqa: TRY004 - one kind of error for all that is wrong with a value
    return str(part).split(",")


def _range(piece: str) -> range:
    match = _PART.fullmatch(piece.strip())
    if match is None:
        message = f"{piece.strip()!r} is no CPU: must be numbers and ranges, e.g. [0,2] or [0-3,6]"
        raise ValueError(message)
    first, last, step = int(match["first"]), int(match["last"] or match["first"]), int(match["step"] or 1)
    if last < first or step < 1:
        message = f"{piece.strip()!r} is an empty range"
        raise ValueError(message)
    if last > HIGHEST:
        message = f"there is no CPU {last}"
        raise ValueError(message)
    return range(first, last + 1, step)
