"""A worker that stood still for a reason outside of it is noticed, and one that was slow by itself is not."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from almaflow.processes import stops
from almaflow.processes.stops import StopWatch

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def sleeper() -> Iterator[psutil.Process]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield psutil.Process(process.pid)
        process.kill()


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(stops, "time", made)
    return made


def looks(watch: StopWatch, clock: Clock, count: int) -> None:
    for _ in range(count):
        clock.now += 0.2
        watch.look(0.0)


def suspend(process: psutil.Process) -> None:
    process.suspend()
    deadline = time.monotonic() + 5
    while process.status() != psutil.STATUS_STOPPED:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_one_that_only_takes_its_time_was_not_stopped(sleeper: psutil.Process, clock: Clock) -> None:
    watch = StopWatch(sleeper.pid)
    looks(watch, clock, 100)
    watch.look(0.3)  # a busy machine wakes nobody at once
    assert (watch.stops_s, watch.total_s, watch.held_s) == ([], 0.0, 0.0)


def test_a_parent_that_wakes_up_late_knows_that_all_was_stopped(sleeper: psutil.Process, clock: Clock) -> None:
    watch = StopWatch(sleeper.pid)
    clock.now += 30.0
    watch.look(29.8)
    assert (watch.stops_s, watch.total_s, watch.held_s) == ([29.8], 29.8, 0.0)
    watch.resume()
    assert (watch.stops_s, watch.total_s) == ([], 29.8)


def test_a_worker_that_is_stopped_alone_is_seen(sleeper: psutil.Process, clock: Clock) -> None:
    watch = StopWatch(sleeper.pid)
    suspend(sleeper)
    looks(watch, clock, 15)
    assert watch.stops_s == []  # it is not over yet, and does not count against the budget either
    assert watch.total_s == watch.held_s == pytest.approx(3.0)
    sleeper.resume()
    looks(watch, clock, 1)
    assert watch.stops_s == [pytest.approx(3.0)]
    assert watch.total_s == pytest.approx(3.0)


def test_a_thread_that_waited_for_a_processor_is_told_by_the_kernel(clock: Clock) -> None:
    watch = StopWatch(psutil.Process().pid)
    waited_s = iter([2.0, 2.1])
    watch._waited_s = 0.0
    watch._waited_for_a_processor_s = lambda: next(waited_s)  # type: ignore[method-assign]
    looks(watch, clock, 2)
    assert watch.stops_s == [2.0]  # the tenth of a second after it is what a busy machine does


def test_a_process_that_has_gone_was_not_stopped() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    watch = StopWatch(process.pid)
    watch.look(0.0)
    assert watch.stops_s == []
