"""What is recorded of the machine around a round: a load that is there is seen, what is not known is not made up."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from almaflow import machine
from almaflow.machine import gpus
from almaflow.machine import monitor as state
from almaflow.machine.gpu_state import GpuState
from almaflow.records import MachineState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUND_S = 0.5


@contextmanager
def child(code: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that has begun to run the code."""
    command = [sys.executable, "-c", f"print('begun', flush=True)\n{code}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        try:
            yield process
        finally:
            process.kill()


BUSY = "while True: pass"
IDLE = "import time; time.sleep(60)"


def test_a_busy_process_is_seen_by_those_whose_worker_it_is_not() -> None:
    """Two watches at once, since nothing is known of what else runs on the machine that tests."""
    with child(BUSY) as busy, child(IDLE) as idle:
        of_busy, of_idle, process = state.StateWatch("cpu"), state.StateWatch("cpu"), psutil.Process(busy.pid)
        of_busy.begin(busy.pid)
        of_idle.begin(idle.pid)
        began, before = time.perf_counter(), process.cpu_times().user
        time.sleep(ROUND_S)
        used = (process.cpu_times().user - before) / (time.perf_counter() - began)
        others = of_idle.end().others_cpus
        rest = of_busy.end().others_cpus
    assert others is not None
    assert rest is not None
    assert used > 0.1
    # Two readings, each known to a tenth of a processor.
    assert others == pytest.approx(rest + used, abs=0.2)


def test_a_worker_that_is_gone_leaves_its_load_unknown() -> None:
    watch = state.StateWatch("cpu")
    with child(IDLE) as worker:
        watch.begin(worker.pid)
        worker.kill()
        worker.wait()
        time.sleep(ROUND_S)
        assert watch.end().others_cpus is None
    watch.begin(worker.pid)
    time.sleep(ROUND_S)
    assert watch.end().others_cpus is None


def test_what_was_not_begun_is_unknown() -> None:
    watch = state.StateWatch("cpu")
    assert watch.end() == MachineState()
    watch.begin(os.getpid())
    watch.end()
    assert watch.end() == MachineState()


def test_looking_costs_the_worker_nothing() -> None:
    watch = state.StateWatch("cpu")
    costs_ms = []
    with child(IDLE) as worker:
        for _ in range(100):
            began = time.perf_counter()
            watch.begin(worker.pid)
            watch.end()
            costs_ms.append((time.perf_counter() - began) * 1e3)
    # It takes 0.2 ms on two processors; each further one may have a clock to be read.
    assert sorted(costs_ms)[10] < 1 + 0.1 * (os.cpu_count() or 1)


class Clock:
    """The kernel's counters, made up: one worker, and the machine around it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **also: float) -> None:
        self.wall = self.busy = self.worker = self.own = 0.0
        self.also = also
        process = SimpleNamespace(cpu_times=lambda: SimpleNamespace(user=self.worker, system=0.0))
        fake = SimpleNamespace(
            Error=psutil.Error,
            Process=lambda _: process,
            cpu_times=lambda: SimpleNamespace(user=self.busy, **self.also),
        )
        monkeypatch.setattr(state, "psutil", fake)
        times = SimpleNamespace(perf_counter=lambda: self.wall, process_time=lambda: self.own)
        monkeypatch.setattr(state, "time", times)

    def round(self, watch: state.StateWatch, wall_s: float, others: float, pid: int = 1) -> MachineState:
        watch.begin(pid)
        self.wall += wall_s
        self.busy += wall_s * (1 + others)
        self.worker += wall_s
        return watch.end()


def test_the_parent_itself_is_none_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, watch = Clock(monkeypatch), state.StateWatch("cpu")
    watch.begin(1)
    clock.wall, clock.worker, clock.own, clock.busy = 2.0, 2.0, 0.5, 3.0
    assert watch.end().others_cpus == 0.25


def test_short_rounds_of_a_worker_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, watch = Clock(monkeypatch), state.StateWatch("cpu")
    loads = [clock.round(watch, 0.12, others).others_cpus for others in (0.0, 0.3, 0.6, 1.0)]
    assert loads == [None, None, pytest.approx(0.3), None]


def test_short_rounds_of_two_workers_are_not_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, watch = Clock(monkeypatch), state.StateWatch("cpu")
    loads = [clock.round(watch, 0.15, float(pid), pid).others_cpus for pid in (1, 2, 1, 2)]
    assert loads == [None, None, pytest.approx(1.0), pytest.approx(2.0)]


def test_a_long_round_has_its_own_load(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, watch = Clock(monkeypatch), state.StateWatch("cpu")
    assert clock.round(watch, 0.001, 5.0).others_cpus is None
    assert clock.round(watch, 1.0, 0.5).others_cpus == pytest.approx(0.5)
    assert clock.round(watch, 0.12, 0.0).others_cpus is None


def test_ticks_that_do_not_add_up_are_no_negative_load(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Clock(monkeypatch).round(state.StateWatch("cpu"), 1.0, -0.02).others_cpus == 0.0


def test_the_hypervisors_share_is_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, watch = Clock(monkeypatch, steal=0.0, idle=7.0, iowait=8.0, guest=9.0), state.StateWatch("cpu")
    watch.begin(1)
    clock.wall, clock.also = 2.0, {"steal": 0.5, "idle": 17.0, "iowait": 18.0, "guest": 19.0}
    seen = watch.end()
    assert (seen.others_cpus, seen.steal_cpus) == (0.0, 0.25)
    assert Clock(monkeypatch).round(state.StateWatch("cpu"), 1.0, 0.0).steal_cpus is None


class FakeNvmlError(Exception):
    """As pynvml's own."""


class Board:
    """A GPU that NVML knows everything of, or only what ``knows`` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, knows: bool = True) -> None:
        self.reasons, self.held_ns, self.pids, self.millijoules = 0, {0: 0, 1: 0, 2: 0}, [os.getpid()], 0
        answers: dict[str, Callable[..., Any]] = {
            "nvmlDeviceGetClockInfo": lambda _, kind: {1: 1755}[kind],
            "nvmlDeviceGetTemperature": lambda _, sensor: {0: 64}[sensor],
            "nvmlDeviceGetCurrentClocksThrottleReasons": lambda _: self.reasons,
            "nvmlDeviceGetViolationStatus": lambda _, policy: SimpleNamespace(violationTime=self.held_ns[policy]),
            "nvmlDeviceGetComputeRunningProcesses": lambda _: [SimpleNamespace(pid=pid) for pid in self.pids],
            "nvmlDeviceGetTotalEnergyConsumption": lambda _: self.millijoules,
        }
        errors = {"NVMLError": FakeNvmlError, "NVMLLibraryMismatchError": FakeNvmlError}
        module = SimpleNamespace(**errors, **(answers if knows else dict.fromkeys(answers, self._refuse)))
        monkeypatch.setitem(sys.modules, "pynvml", module)
        for place in ("monitor", "energy"):
            monkeypatch.setattr(f"almaflow.machine.{place}.first_handle", lambda: "handle")

    @staticmethod
    def _refuse(*_: object) -> None:
        raise FakeNvmlError


def test_a_gpu_that_tells_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(monkeypatch)
    watch = state.StateWatch("cuda")
    watch.begin(os.getpid())
    board.millijoules, board.reasons = 2_500, 0x01 | 0x02 | 0x20 | 0x40 | 0x100
    seen = watch.end()
    assert (seen.gpu_clock_mhz, seen.temperature_c, seen.energy_j) == (1755, 64, 2.5)
    assert seen.gpu_throttle == ("thermal slowdown",)
    assert seen.gpu_other_processes == 0


def test_a_gpu_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    Board(monkeypatch, knows=False)
    watch = state.StateWatch("cuda")
    watch.begin(os.getpid())
    seen = watch.end()
    assert (seen.gpu_clock_mhz, seen.temperature_c, seen.energy_j, seen.gpu_other_processes) == (None,) * 4
    assert seen.gpu_throttle == ()


def test_a_cap_that_is_over_when_the_round_is_was_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(monkeypatch)
    gpu = GpuState("handle")
    before = gpu.held_ns()
    board.held_ns |= {0: 40_000_000}
    assert gpu.throttle(before, 1.0) == ()
    assert gpu.throttle(before, 0.5) == ("power cap",)
    board.reasons = 0x80
    assert gpu.throttle(before, 0.5) == ("power brake", "power cap")
    assert gpu.throttle({}, 0.5) == ("power brake",)


def test_processes_of_this_job_are_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(monkeypatch)
    nobody = max(psutil.pids()) + 100_000
    with child(IDLE) as sibling:
        # A grandchild of this process, whose parent is one of ours.
        board.pids = [os.getpid(), sibling.pid, 1, nobody]
        assert GpuState("handle").other_processes({os.getpid()}, os.getpid()) == 2
        assert GpuState("handle").other_processes({os.getpid(), nobody}, os.getpid()) == 1
        # The worker has just been there: a list without it has numbers that mean nothing here.
        assert GpuState("handle").other_processes(set(), nobody + 1) is None


@pytest.mark.skipif(not machine.has_cuda(), reason="no NVIDIA GPU")
def test_a_real_gpu_has_a_clock_and_a_temperature() -> None:
    gpus.first_handle.cache_clear()
    watch = state.StateWatch("cuda")
    watch.begin(os.getpid())
    seen = watch.end()
    assert seen.gpu_clock_mhz is not None
    assert seen.temperature_c is not None
    assert 0 < seen.temperature_c < 120
