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


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB (10^6 bytes); 0 where it has ended."""
    with suppress(psutil.NoSuchProcess):
        return float(psutil.Process(pid).memory_info().rss) / 1e6
    return 0.0


def share_mb(pid: int) -> float:
    """Return the memory of a process in MB (10^6 bytes), shared pages divided by those that share them; 0: it ended.

    It is at most the resident memory, and takes the kernel some 20 ms a gigabyte to find out.
    """
    try:
        return float(psutil.Process(pid).memory_full_info().pss) / 1e6
    except psutil.NoSuchProcess:
        return 0.0
    except psutil.AccessDenied:  # a helper that runs as another user
        return resident_mb(pid)


@cache
def _kernel_lists_children() -> bool:
    """Whether the kernel lists them; psutil reads every process of the machine for that, which may take long."""
    pid = os.getpid()
    return Path(f"/proc/{pid}/task/{pid}/children").exists()
