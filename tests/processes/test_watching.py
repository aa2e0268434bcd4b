"""Workers that work at the same time are watched by one parent: each costs only itself."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from tests.support.misbehaving_launch import failure_of, gone, launching, make_task, pids

from almaflow.processes import working_time
from almaflow.processes.watching import wait_for_any
from almaflow.processes.working_time import WorkingTime
from almaflow.records import FailureKind

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.usefixtures("troubled_workers")
def test_one_that_dies_and_one_that_hangs_leave_the_others_as_they_are(tmp_path: Path) -> None:
    phases: dict[str, list[str]] = {"good": [], "dead": [], "hung": []}
    with launching(tmp_path) as launcher, ExitStack() as stack:
        tasks = {
            "good": make_task(tmp_path / "good", "rounds", converts=True),
            "dead": make_task(tmp_path / "dead", "abort_while_checking", converts=True),
            "hung": make_task(tmp_path / "hung", "sleep_for_ever", time_budget_s=1.0),
        }
        workers = {
            name: stack.enter_context(closing(launcher.start(task, phases[name].append)))
            for name, task in tasks.items()
        }
        left = dict(workers)
        order: list[str] = []
        began = time.monotonic()
        while left:
            there = wait_for_any(list(left.values()), lambda worker: worker.prepared)
            for name in [name for name, worker in left.items() if worker in there]:
                order.append(name)
                del left[name]
        took_s = time.monotonic() - began
        assert order[-1] == "hung"
        assert took_s > 1.0
        assert workers["good"].running
        assert workers["good"].until_ready()
        assert phases["good"] == ["load", "ready"]
        results = {name: worker.finish().result for name, worker in workers.items()}
        assert gone(*pids(tmp_path / "hung"))
    assert results["good"].failure is None
    assert failure_of(results["dead"]).kind is FailureKind.CRASHED
    assert failure_of(results["hung"]).kind is FailureKind.TIMEOUT
    assert "measure.time_budget_s=1" in failure_of(results["hung"]).message


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = SimpleNamespace(now=0.0)
    made.monotonic = lambda: made.now
    monkeypatch.setattr(working_time, "time", made)
    return made


def test_beside_others_time_counts_by_their_number_and_while_nobody_waits_not_at_all(clock: Any) -> None:
    spent = WorkingTime(psutil.Process().pid, 10.0)
    spent.resume()
    clock.now += 3.0
    spent.look(0.0, beside=2, preparing=True)
    assert spent.left_s == pytest.approx(9.0)
    clock.now += 100.0  # an outcome is written
    spent.resume()
    clock.now += 1.0
    spent.look(0.0, beside=0, preparing=True)
    assert spent.left_s == pytest.approx(8.0)
    assert spent.prepared_beside == pytest.approx(3.0 * 2 / 4.0)
    clock.now += 4.0
    spent.look(0.0, beside=0, preparing=False)  # it warms up
    assert spent.left_s == pytest.approx(4.0)
    assert spent.prepared_beside == pytest.approx(1.5)


def test_a_stop_of_the_machine_counts_for_nobody(clock: Any) -> None:
    spent = WorkingTime(psutil.Process().pid, 10.0)
    spent.resume()
    clock.now += 30.2
    spent.look(30.0, beside=1, preparing=True)
    assert spent.left_s == pytest.approx(9.9)
