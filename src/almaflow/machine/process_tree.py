"""The processes that a process has started, and the memory that they hold."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil


def children(pid: int) -> list[int]:
    """Return the process IDs of a process's children, ended ones included that it has not waited for."""
    if not _kernel_lists_children():
        with suppress(psutil.Error):
            return [child.pid for child in psutil.Process(pid).children()]
        return []
    found: list[int] = []
    with suppress(OSError):  # it has ended
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):  # the thread has ended
                found += map(int, (thread / "children").read_text(encoding="ascii").split())
    return found


def descendants(pid: int) -> list[int]:
    """Return the process IDs of a process's children, of theirs, and so on."""
    found = children(pid)
    for each in found:  # grows meanwhile
        found += children(each)
    return found


def share_mb(pid: int) -> float:
    """Return the memory of a process in MB (10^6 bytes), shared pages divided by those that share them; 0: it ended."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        try:
            return float(process.memory_full_info().pss) / 1e6
        except psutil.AccessDenied:  # a helper that runs as another user
            return float(process.memory_info().rss) / 1e6
    return 0.0


@cache
def _kernel_lists_children() -> bool:
    """Whether the kernel lists them; psutil reads every process of the machine for that, which may take long."""
    pid = os.getpid()
    return Path(f"/proc/{pid}/task/{pid}/children").exists()
