"""Times a step of a worker: seconds that pass, and seconds of processors that it and all that it starts spend."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

import psutil

from almaflow.machine.process_tree import descendants


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._cpu_s = _cpu_s()
        self._began = time.perf_counter()

    def read(self) -> tuple[float, float]:
        """Return the wall time and the CPU time so far, in seconds.

        The CPU time is that of all threads of this process, of the processes that it has started, and of those that
        these have started, whether they still run or not.
        """
        wall_s = time.perf_counter() - self._began
        return wall_s, max(0.0, _cpu_s() - self._cpu_s)


def _cpu_s() -> float:
    own = sum(usage.ru_utime + usage.ru_stime for usage in map(getrusage, (RUSAGE_SELF, RUSAGE_CHILDREN)))
    return own + sum(map(_descendant_s, descendants(os.getpid())))


def _descendant_s(pid: int) -> float:
    """Return what a descendant has spent, with those that it has waited for; 0 where it is gone."""
    with suppress(psutil.Error):
        return sum(psutil.Process(pid).cpu_times()[:4])
    return 0.0
