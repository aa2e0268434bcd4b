"""Notices when a worker stood still for a reason outside of it: a signal, a machine that was paused, no processor."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import psutil

LEAST_STOP_S = 0.5
"""Shortest stop that is told, above what a busy machine does to a process that wakes up a few times a second."""

STOPPED = {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}


class StopWatch:
    """Looks at a worker, and adds up for how long it stood still.

    Three signs count. The parent itself wakes up too late: the whole machine, or all of the job, was stopped. The
    system calls the worker stopped, as after SIGSTOP. The kernel has let the worker's main thread wait for a processor,
    which it tells once the thread has got one. The longest of the three is taken, since one stop may show in all.

    Args:
        pid: The worker's process.
    """

    def __init__(self, pid: int) -> None:
        self.stops_s: list[float] = []
        """Stops that are over, since ``resume``: each to 0.2 s, the time between two looks."""
        self.held_s = 0.0
        """Seconds for which the worker was stopped, and the parent was not, since the worker began."""
        self._pid = pid
        self._process = psutil.Process(pid) if psutil.pid_exists(pid) else None
        self._going_on_s = 0.0
        self._ended_s = 0.0
        self.resume()

    @property
    def total_s(self) -> float:
        """Seconds for which the worker stood still since it began."""
        return self._ended_s + self._going_on_s

    def resume(self) -> None:
        """Begin a series of looks."""
        self.stops_s = []
        self._looked_at = time.monotonic()
        self._waited_s = self._waited_for_a_processor_s()

    def look(self, late_s: float) -> None:
        """Look at the worker.

        Args:
            late_s: Seconds by which the parent woke up later than it had asked for.
        """
        now, waited_s = time.monotonic(), self._waited_for_a_processor_s()
        since_s, starved_s = now - self._looked_at, waited_s - self._waited_s
        self._looked_at, self._waited_s = now, waited_s
        if self._is_stopped():
            self._going_on_s += since_s
            self.held_s += since_s - max(0.0, late_s)
            return
        stop_s = max(self._going_on_s, late_s, starved_s)
        self._going_on_s = 0.0
        if stop_s >= LEAST_STOP_S:
            self.stops_s.append(stop_s)
            self._ended_s += stop_s

    def _is_stopped(self) -> bool:
        with suppress(psutil.Error):
            return self._process is not None and self._process.status() in STOPPED
        return False

    def _waited_for_a_processor_s(self) -> float:
        """Return how long the main thread has waited for a processor so far; 0 where the kernel does not tell."""
        with suppress(OSError, ValueError, IndexError):
            return int(Path(f"/proc/{self._pid}/schedstat").read_bytes().split()[1]) / 1e9
        return 0.0
