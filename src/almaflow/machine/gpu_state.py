"""Reads the state of the GPU that workers use from NVML. What the driver or the GPU does not tell is None."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import psutil

from almaflow.machine.gpus import ask

if TYPE_CHECKING:
    from collections.abc import Collection

HELD_SHARE = 0.05
"""Least share of a round with the clock held down for which the reason is named; less moves no median."""

# Constants of nvml.h. The reasons leave out idling, clocks that the user set, and those of a display.
_CLOCK_SM = 1
_SENSOR_GPU = 0
_REASONS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x10: "sync boost",
    0x20: "thermal slowdown",
    0x40: "thermal slowdown",
    0x80: "power brake",
}
_POLICIES = {0: "power cap", 1: "thermal slowdown", 2: "sync boost"}


class GpuState:
    """Queries to one GPU, by its NVML handle."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def clock_mhz(self) -> float | None:
        """Clock of the multiprocessors now, in MHz."""
        mhz = ask("nvmlDeviceGetClockInfo", self._handle, _CLOCK_SM)
        return None if mhz is None else float(mhz)

    def temperature_c(self) -> float | None:
        """Temperature of the chip now, in degrees Celsius."""
        for function in ("nvmlDeviceGetTemperature", "nvmlDeviceGetTemperatureV"):  # the first goes with CUDA 14
            if (celsius := ask(function, self._handle, _SENSOR_GPU)) is not None:
                return float(celsius)
        return None

    def held_ns(self) -> dict[str, int]:
        """Nanoseconds, by reason, that the clock has been held down since the driver was loaded."""
        held = {name: ask("nvmlDeviceGetViolationStatus", self._handle, policy) for policy, name in _POLICIES.items()}
        return {name: int(status.violationTime) for name, status in held.items() if status is not None}

    def held_now(self) -> set[str]:
        """Reasons for which the clock is held down at this moment."""
        for function in ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"):
            if (bits := ask(function, self._handle)) is not None:
                return {name for bit, name in _REASONS.items() if bits & bit}
        return set()

    def throttle(self, before_ns: dict[str, int], wall_s: float) -> tuple[str, ...]:
        """Reasons for which the clock was held down since ``held_ns`` returned ``before_ns``, ``wall_s`` seconds ago.

        By now the GPU is idle again and a power cap is over, so the driver's counters are compared. Reasons without a
        counter are those of this moment.
        """
        now_ns = self.held_ns()
        counted = {
            name
            for name in now_ns.keys() & before_ns.keys()
            if now_ns[name] - before_ns[name] >= HELD_SHARE * wall_s * 1e9
        }
        return tuple(sorted(counted | self.held_now()))

    def other_processes(self, ours: Collection[int], worker: int) -> int | None:
        """Count the processes that compute on the GPU and are not of this job; None where they cannot be told apart.

        Args:
            ours: processes of this job; all descendants of this process count as ours anyway.
            worker: the process that has just computed on the GPU. A driver that does not list it numbers processes as
                they are outside of our container, which tells nothing about ours.
        """
        listed = ask("nvmlDeviceGetComputeRunningProcesses", self._handle)
        pids = {int(process.pid) for process in listed or ()}
        if worker not in pids:
            return None
        return sum(pid not in ours and not _is_descendant(pid) for pid in pids)


def _is_descendant(pid: int) -> bool:
    try:
        return any(parent.pid == os.getpid() for parent in psutil.Process(pid).parents())
    except psutil.Error:  # another user's, or gone
        return False
