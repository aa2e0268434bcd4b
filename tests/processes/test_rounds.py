"""A worker takes rounds when it is asked; whatever ends it meanwhile, the rounds before are kept.

Everything holds for both ways of starting one: a fresh interpreter, and a fork of the clean server.
"""

from __future__ import annotations

import time
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from tests.support import misbehaving_workers
from tests.support.misbehaving_launch import (
    failure_of,
    gone,
    launching,
    make_task,
    measurement_of,
    pids,
    runs,
    taking_rounds,
    turn,
)

from almaflow.processes import worker_handle, working_time
from almaflow.records import FailureKind

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("troubled_workers")


def test_a_worker_takes_rounds_when_it_is_asked_and_finishes_when_it_is_asked(tmp_path: Path, device: str) -> None:
    phases: list[str] = []
    task = make_task(tmp_path, "rounds", device, converts=True)
    with launching(tmp_path, device) as launcher, closing(launcher.start(task, phases.append)) as worker:
        assert worker.until_ready()
        assert [worker.turn(turn(index)) for index in (1, 2)] == [misbehaving_workers.REPORT] * 2
        assert worker.process.poll() is None
        exit_state = worker.finish()
    assert phases == ["load", "ready", "measure", "ready", "measure", "ready"]
    assert exit_state.result.finished
    assert exit_state.result.failure is None
    assert [each.index for each in measurement_of(exit_state.result).rounds] == [0, 1, 2]


def test_a_worker_that_is_in_a_round_ends_it_and_finishes(tmp_path: Path, device: str) -> None:
    task = make_task(tmp_path, "rounds", device, converts=True)
    with launching(tmp_path, device) as launcher, closing(launcher.start(task)) as worker:
        assert worker.until_ready()
        worker._tell(turn(1))  # an interrupt came while it was waited for
        began = time.monotonic()
        exit_state = worker.finish(evaluate=False)
    assert exit_state.result.finished
    assert [each.index for each in measurement_of(exit_state.result).rounds] == [0, 1]
    assert time.monotonic() - began < task.measure.time_budget_s / 2


@pytest.mark.parametrize(
    ("function", "code", "kind", "message"),
    [
        ("abort", 0, FailureKind.CRASHED, "the worker was killed by SIGABRT"),
        ("leave_at_once", 4, FailureKind.CRASHED, "the worker exited with code 4"),
        ("leave", 4, FailureKind.ERROR, "SystemExit: 4"),
    ],
)
def test_a_crash_in_a_later_round_keeps_the_rounds_before_it(
    tmp_path: Path, device: str, function: str, code: int, kind: FailureKind, message: str
) -> None:
    with taking_rounds(tmp_path, device, trouble=function, at=2, code=code) as worker:
        assert worker.turn(turn(1)) == misbehaving_workers.REPORT
        assert worker.turn(turn(2)) is None
        assert worker.turn(turn(3)) is None
        result = worker.finish().result
    failure = failure_of(result)
    assert (failure.kind, failure.message, failure.phase) == (kind, message, "measure")
    assert len(measurement_of(result).rounds) == 2
    assert measurement_of(result).samples_ms == (1.0, 2.0) * 2


def test_a_worker_that_dies_while_it_waits_is_noticed_at_its_next_turn(tmp_path: Path, device: str) -> None:
    with taking_rounds(tmp_path, device, "die_while_waiting", code=5) as worker:
        assert gone(worker.process.pid)
        assert worker.turn(turn(1)) is None
        result = worker.finish().result
    assert failure_of(result).message == "the worker exited with code 5"
    assert len(measurement_of(result).rounds) == 1


def test_a_worker_over_its_memory_limit_is_ended_in_the_middle_of_its_turn(tmp_path: Path, device: str) -> None:
    settings = {"memory_limit_mb": 300.0}
    with taking_rounds(tmp_path, device, settings=settings, trouble="eat_memory", at=2) as worker:
        assert worker.turn(turn(1)) == misbehaving_workers.REPORT
        assert worker.turn(turn(2)) is None
        result = worker.finish().result
    assert failure_of(result).kind is FailureKind.OUT_OF_MEMORY
    assert len(measurement_of(result).rounds) == 2


def test_the_budget_is_spent_by_the_workers_own_time_and_not_by_waiting_for_turns(
    tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    skipped_s = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + skipped_s[0], sleep=time.sleep)
    monkeypatch.setattr(working_time, "time", clock)
    monkeypatch.setattr(worker_handle, "TERMINATE_GRACE_S", 0.2)
    settings = {"time_budget_s": 1e6}
    with taking_rounds(tmp_path, device, settings=settings, trouble="sleep_for_ever", at=4) as worker:
        skipped_s[0] += 1e7  # others have their turns
        assert worker.turn(turn(1)) == misbehaving_workers.REPORT

        def take_long(phase: str) -> None:
            skipped_s[0] += 6e5 * (phase == "measure")

        worker.on_phase = take_long
        assert worker.turn(turn(2)) == misbehaving_workers.REPORT
        assert worker.turn(turn(4)) is None  # this one and the last are more than the budget
        result = worker.finish().result
    assert (failure_of(result).kind, failure_of(result).phase) == (FailureKind.TIMEOUT, "measure")
    assert len(measurement_of(result).rounds) == 3
    assert gone(worker.process.pid)


def test_a_helper_dies_with_its_worker_not_only_with_the_job(tmp_path: Path, device: str) -> None:
    with taking_rounds(tmp_path, device, trouble="with_helper", at=1) as worker:
        assert worker.turn(turn(1))
        assert runs(pids(tmp_path)[1])
        assert worker.finish().result.failure is None
        assert gone(*pids(tmp_path))


def test_closing_a_worker_that_waits_ends_it_and_keeps_what_it_has(tmp_path: Path, device: str) -> None:
    with taking_rounds(tmp_path, device, trouble="with_helper", at=1) as worker:
        assert worker.turn(turn(1))
        worker.close()
        worker.close()
        assert gone(*pids(tmp_path))
        exit_state = worker.exit_state()
    assert exit_state.result.failure is None
    assert not exit_state.result.finished
    assert len(measurement_of(exit_state.result).rounds) == 2


@pytest.mark.parametrize(
    ("aborts", "settings", "evaluate", "why"),
    [
        (True, {}, True, "the worker was killed by SIGABRT"),
        (False, {}, False, "ended before it was evaluated"),
        (
            False,
            {"time_budget_s": 2.0},
            True,
            "not done within measure.time_budget_s=2, ended while in phase 'evaluate'",
        ),
    ],
    ids=["it aborts", "the parent does not wait", "it does not end"],
)
def test_whatever_ends_an_evaluation_the_measurement_is_whole(
    tmp_path: Path, aborts: bool, settings: dict[str, float], evaluate: bool, why: str
) -> None:
    with taking_rounds(tmp_path, "cpu", "evaluate", settings, aborts=aborts) as worker:
        assert worker.turn(turn(1))
        result = worker.finish(evaluate=evaluate).result
        assert (result.failure, result.finished) == (None, True)
        assert measurement_of(result).quality_error == why
        assert len(measurement_of(result).rounds) == 2
        assert gone(worker.process.pid)
