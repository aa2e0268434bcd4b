"""Watches the machine around each round of timed calls, from the parent: load by others, clocks, heat, energy."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import psutil

from almaflow.machine import cpus
from almaflow.machine.energy import meter
from almaflow.machine.gpu_state import GpuState
from almaflow.machine.gpus import first_handle
from almaflow.machine.sensors import CpuSensors
from almaflow.records import MachineState

if TYPE_CHECKING:
    from collections.abc import Iterable

RESOLUTION_CPUS = 0.1
"""Largest error of a load that is reported, in processors."""

TICK_ERROR_S = 0.02
"""Error of the processor time of one round: the kernel counts whole ticks of 10 ms, apart for user and system mode, for
the machine and for the worker, before and after. Beside workers with nothing else running, nineteen rounds of twenty
were within it (standard deviation 9.5 ms)."""


class StateWatch:
    """Reads the machine just before and just after each round of a worker, and does nothing in between.

    The load is that of all processes but the worker and this one: other programs, the system, the worker's children,
    waiting workers. The kernel's ticks are too coarse for the load of a single short round. So the rounds of one worker
    are added up until their load is known to ``RESOLUTION_CPUS``: it is None until then, and then the mean over all of
    them. ``TICK_ERROR_S`` grows with the square root of their number, so one round of 0.2 s suffices, or three of
    0.12 s, or sixteen of 0.05 s.

    Args:
        device: where the rounds compute, ``cpu`` or ``cuda``: temperature and energy are of this device.
        bound_to: the processors that workers run on, whose clock is read; None: those that this process may use.
    """

    def __init__(self, device: str, bound_to: Iterable[int] | None = None) -> None:
        handle = first_handle() if device == "cuda" else None
        self._device = device
        self._gpu = GpuState(handle) if handle is not None else None
        self._meter = meter(device)
        self._sensors = CpuSensors((cpus.allowed() or ()) if bound_to is None else bound_to)
        self._pids: set[int] = set()
        self._short: dict[int, _Load] = {}
        self._before: _Before | None = None

    def begin(self, pid: int) -> None:
        """Read the state just before the worker ``pid``, which may be gone already, takes its round."""
        self._pids.add(pid)
        worker = None
        with suppress(psutil.Error):
            worker = psutil.Process(pid)
        held_ns = self._gpu.held_ns() if self._gpu else {}
        energy_j = self._meter.read_j() if self._meter else None
        self._before = _Before(pid, worker, held_ns, energy_j, _times(worker))

    def end(self) -> MachineState:
        """Return the state over the round that is just over; all of it is unknown where ``begin`` was not called."""
        before, self._before = self._before, None
        if before is None:
            return MachineState()
        now = _times(before.worker)
        energy_j = self._meter.read_j() if self._meter else None
        load = self._known_load(before.pid, _load(before.times, now))
        gpu, wall_s = self._gpu, now.wall_s - before.times.wall_s
        cpu_c = self._sensors.temperature_c() if self._device != "cuda" else None
        return MachineState(
            others_cpus=load.per_second(load.others_s),
            steal_cpus=load.per_second(load.steal_s),
            frequency_mhz=self._sensors.frequency_mhz(),
            temperature_c=gpu.temperature_c() if gpu else cpu_c,
            gpu_clock_mhz=gpu.clock_mhz() if gpu else None,
            gpu_throttle=gpu.throttle(before.held_ns, wall_s) if gpu else (),
            gpu_other_processes=gpu.other_processes(self._pids, before.pid) if gpu else None,
            energy_j=_difference(energy_j, before.energy_j),
        )

    def _known_load(self, pid: int, load: _Load) -> _Load:
        """Add the worker's earlier rounds to one that is too short; the load is unknown while the sum is too short."""
        together = load + self._short.pop(pid, _Load())
        for candidate in (load, together):
            if TICK_ERROR_S * sqrt(candidate.windows) <= RESOLUTION_CPUS * candidate.wall_s:
                return candidate
        self._short[pid] = together
        return _UNKNOWN


@dataclass(frozen=True)
class _Times:
    """Clock time and processor times so far, in seconds."""

    wall_s: float
    busy_s: float
    steal_s: float | None
    own_s: float
    worker_s: float | None


@dataclass(frozen=True)
class _Before:
    pid: int
    worker: psutil.Process | None
    held_ns: dict[str, int]
    energy_j: float | None
    times: _Times


@dataclass(frozen=True)
class _Load:
    """Processor time in the windows that were added up, in seconds; None where unknown."""

    windows: int = 0
    wall_s: float = 0.0
    others_s: float | None = 0.0
    steal_s: float | None = 0.0

    def __add__(self, other: _Load) -> _Load:
        return _Load(
            self.windows + other.windows,
            self.wall_s + other.wall_s,
            _sum(self.others_s, other.others_s),
            _sum(self.steal_s, other.steal_s),
        )

    def per_second(self, seconds: float | None) -> float | None:
        # By the kernel's ticks the worker may have used more than the whole machine.
        return None if seconds is None else max(0.0, seconds / self.wall_s)


_UNKNOWN = _Load(others_s=None, steal_s=None)


def _times(worker: psutil.Process | None) -> _Times:
    machine = psutil.cpu_times()
    worker_s = None
    with suppress(psutil.Error):
        spent = worker.cpu_times() if worker else None
        worker_s = spent.user + spent.system if spent else None
    # On Linux, user time includes that of guests.
    busy = ("user", "nice", "system", "irq", "softirq")
    return _Times(
        wall_s=time.perf_counter(),
        busy_s=sum(getattr(machine, name, 0.0) for name in busy),
        steal_s=getattr(machine, "steal", None),
        own_s=time.process_time(),
        worker_s=worker_s,
    )


def _load(before: _Times, now: _Times) -> _Load:
    worker_s = _difference(now.worker_s, before.worker_s)
    all_s = now.busy_s - before.busy_s - (now.own_s - before.own_s)
    return _Load(
        windows=1,
        wall_s=now.wall_s - before.wall_s,
        others_s=_difference(all_s, worker_s),
        steal_s=_difference(now.steal_s, before.steal_s),
    )


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
