"""From what processes left to an outcome."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from tests.support.example_jobs import WRONG, in_rounds, measured, ok, planned

from almaflow.analysis import counts
from almaflow.measure.interleave import MeasuredWorker
from almaflow.measure.outcomes import merged, outcome_of, reports_of, with_states
from almaflow.processes.worker_handle import WorkerExit, WorkerHandle
from almaflow.records import (
    Failure,
    FailureKind,
    Fidelity,
    MachineState,
    Measurement,
    MeasureSpec,
    Outcome,
    Status,
    WorkerResult,
)
from almaflow.records.protocol import RoundReport

if TYPE_CHECKING:
    from collections.abc import Sequence


CRASHED = Failure(FailureKind.CRASHED, "the worker was killed by SIGSEGV", "measure")
NINE = [10.0] * 9


def timed(*medians_ms: float, replicate: int = 0, first: int = 0) -> Measurement:
    """One process's rounds, as its worker leaves them."""
    found = in_rounds(ok(), medians_ms, first=first).measurement
    assert found is not None
    return replace(found, rounds=tuple(replace(each, replicate=replicate) for each in found.rounds))


def left(
    measurement: Measurement | None = None,
    failure: Failure | None = None,
    bad_input: str | None = None,
    phase: str = "measure",
) -> WorkerExit:
    result = WorkerResult(measurement=measurement, failure=failure, bad_input=bad_input, finished=not failure)
    return WorkerExit(result, Path("worker.log"), phase)


def ended(
    last: Measurement | None,
    failure: Failure | None = None,
    before: Sequence[Measurement] = (),
    *,
    interrupted: bool = False,
) -> Outcome:
    return outcome_of(planned(), 100.0, before, last, left(last, failure), interrupted=interrupted)


def turns(
    medians_ms: Sequence[float], states: Sequence[MachineState | None], spec: MeasureSpec | None = None
) -> MeasuredWorker:
    reports = [RoundReport(8, value, 0.2) for value in medians_ms]
    return MeasuredWorker(cast("WorkerHandle", None), spec or MeasureSpec(), 0.0, reports, list(states))


def busy(cpus: float) -> MachineState:
    return MachineState(others_cpus=cpus)


def test_one_that_got_to_its_end_is_ok() -> None:
    outcome = ended(timed(*NINE))
    assert outcome.status is Status.OK
    assert outcome.measurement == timed(*NINE)
    assert (outcome.failure, outcome.interrupted) == (None, False)
    assert outcome.planned == planned()
    assert outcome.started_at == 100.0
    assert outcome.ended_at == pytest.approx(time.time(), abs=60)
    assert counts(outcome)


def test_one_that_failed_keeps_what_it_measured_and_does_not_count() -> None:
    outcome = ended(timed(*NINE), CRASHED)
    assert (outcome.status, outcome.failure) == (Status.FAILED, CRASHED)
    assert outcome.measurement == timed(*NINE)
    assert not counts(outcome)


def test_one_that_failed_before_anything_was_timed_keeps_its_times() -> None:
    converted = measured([], fidelity=None)
    outcome = ended(converted, CRASHED)
    assert (outcome.status, outcome.failure, outcome.measurement) == (Status.FAILED, CRASHED, converted)
    nothing = outcome_of(planned(), 100.0, (), None, left(failure=CRASHED))
    assert (nothing.status, nothing.failure, nothing.measurement) == (Status.FAILED, CRASHED, None)


def test_bad_input_is_an_error_in_the_phase_it_showed_in() -> None:
    outcome = outcome_of(planned(), 100.0, (), None, left(bad_input="model.inputs: no such name", phase="load"))
    assert outcome.failure == Failure(FailureKind.ERROR, "model.inputs: no such name", "load")
    assert outcome.status is Status.FAILED


@pytest.mark.parametrize(
    "last", [None, measured([], fidelity=None), measured([], fidelity=WRONG), measured(20.0)], ids=str
)
def test_without_a_round_it_is_not_ok_though_nothing_failed(last: Measurement | None) -> None:
    assert ended(last).status is Status.FAILED


def test_without_a_check_of_its_answer_it_is_not_ok() -> None:
    assert ended(replace(timed(*NINE), fidelity=None)).status is Status.FAILED


def test_interrupted_before_it_was_ready_it_is_interrupted() -> None:
    for last in (None, measured([], fidelity=None)):
        outcome = ended(last, interrupted=True)
        assert (outcome.status, outcome.interrupted, outcome.failure) == (Status.FAILED, True, None)
    never_started = outcome_of(planned(), 100.0, (), None, None, interrupted=True)
    assert (never_started.status, never_started.interrupted) == (Status.FAILED, True)


def test_interrupted_after_it_was_ready_what_was_timed_is_kept_and_does_not_count() -> None:
    outcome = ended(timed(10.0, 11.0), interrupted=True)
    assert (outcome.status, outcome.interrupted, outcome.failure) == (Status.FAILED, True, None)
    assert outcome.measurement == timed(10.0, 11.0)
    assert not counts(outcome)


def test_an_interrupt_does_not_hide_a_crash_before_it() -> None:
    outcome = ended(timed(10.0, 11.0), CRASHED, interrupted=True)
    assert (outcome.status, outcome.interrupted, outcome.failure) == (Status.FAILED, False, CRASHED)
    assert not counts(outcome)


def test_interrupted_while_a_later_process_starts_the_earlier_ones_are_kept() -> None:
    first = timed(10.0, 11.0)
    outcome = ended(measured([], fidelity=None), before=[first], interrupted=True)
    assert (outcome.status, outcome.interrupted, outcome.measurement) == (Status.FAILED, True, first)


def test_interrupted_with_a_wrong_answer_it_still_cannot_win() -> None:
    outcome = ended(replace(timed(10.0), fidelity=WRONG), interrupted=True)
    assert not counts(outcome)


def test_a_failure_in_a_later_process_is_the_conversions() -> None:
    first, second = timed(10.0, 11.0), timed(30.0, replicate=1)
    outcome = ended(second, CRASHED, before=[first])
    assert (outcome.status, outcome.failure) == (Status.FAILED, CRASHED)
    assert outcome.measurement is not None
    assert len(outcome.measurement.rounds) == 3  # what was measured is kept for diagnosis
    assert not counts(outcome)


def test_a_later_process_that_gave_nothing_adds_nothing() -> None:
    first = timed(10.0, 11.0)
    for last in (None, measured([], fidelity=None)):
        assert ended(last, CRASHED, before=[first]).measurement == first


def test_processes_are_put_one_behind_the_other() -> None:
    first = replace(
        timed(10.0, 11.0),
        convert_s=60.0,
        total_s=70.0,
        warmup_calls=5,
        peak_memory_mb=500.0,
        recompiles=0,
        notes=("a", "b"),
        device_samples_ms=(9.0,),
        model_mb=46.8,
    )
    second = replace(
        timed(30.0, replicate=1),
        peak_memory_mb=900.0,
        recompiles=2,
        notes=("b", "c"),
        device_samples_ms=(29.0,),
        fidelity=WRONG,
    )
    found = merged([first, second])
    assert found.samples_ms == (*first.samples_ms, *second.samples_ms)
    assert [(each.replicate, each.index) for each in found.rounds] == [(0, 0), (0, 1), (1, 0)]
    assert sum(each.count for each in found.rounds) == len(found.samples_ms)
    assert found.device_samples_ms == (9.0, 29.0)
    assert (found.total_s, found.warmup_calls) == (70.0 + second.total_s, 5 + second.warmup_calls)
    assert (found.peak_memory_mb, found.recompiles) == (900.0, 2)
    assert found.notes == ("a", "b", "c")
    # Later ones may use what the first one compiled.
    assert (found.convert_s, found.fidelity, found.model_mb) == (60.0, first.fidelity, 46.8)


def test_one_process_is_what_it_is() -> None:
    only = timed(*NINE)
    assert merged([only]) is only


@pytest.mark.parametrize(("peaks", "highest"), [((None, 4.0), 4.0), ((4.0, None), 4.0), ((None, None), None)])
def test_a_peak_that_one_process_does_not_know_is_that_of_the_others(
    peaks: tuple[float | None, float | None], highest: float | None
) -> None:
    found = merged([replace(timed(10.0), peak_memory_mb=peak, recompiles=None) for peak in peaks])
    assert (found.peak_memory_mb, found.recompiles) == (highest, None)


@pytest.mark.parametrize(("stable", "together"), [((True, True), True), ((True, False), False), ((False, True), False)])
def test_it_is_stable_where_every_process_is(stable: tuple[bool, bool], together: bool) -> None:
    assert merged([replace(timed(10.0), stable=each) for each in stable]).stable is together


def test_each_round_gets_the_state_of_the_machine_at_its_time() -> None:
    states = [None, busy(0.1), busy(0.2)]
    found = with_states(timed(10.0, 11.0, 12.0), turns([10.0, 11.0, 12.0], states))
    assert found is not None
    assert [each.state for each in found.rounds] == states


def test_a_worker_that_was_ended_in_a_round_has_left_fewer_than_it_was_given_turns() -> None:
    found = with_states(timed(10.0, 11.0), turns([10.0, 11.0], [None, busy(0.1), busy(0.9)]))
    assert found is not None
    assert [each.state for each in found.rounds] == [None, busy(0.1)]


def test_a_round_that_was_written_but_not_yet_heard_of_is_kept() -> None:
    """An interrupt may come between the worker's file and its parent's next look."""
    made = timed(10.0, 11.0, 12.0)
    found = with_states(made, turns([10.0, 11.0], [None, busy(0.1)]))
    assert found is not None
    assert [each.state for each in found.rounds] == [None, busy(0.1), None]
    assert sum(each.count for each in found.rounds) == len(found.samples_ms)


def test_a_measurement_tells_what_its_worker_reported_of_each_round() -> None:
    reports = reports_of(timed(10.0, 11.0))
    assert [(each.count, each.median_ms) for each in reports] == [(3, 10.0), (3, 11.0)]
    assert [each.wall_s for each in reports] == [each.wall_s for each in timed(10.0, 11.0).rounds]


def test_nothing_measured_has_no_states() -> None:
    assert with_states(None, turns([], [])) is None


@pytest.mark.parametrize(
    ("medians", "spec", "stable"),
    [
        (NINE, MeasureSpec(), True),
        (NINE[:8], MeasureSpec(), False),  # no interval at 95% without its extremes
        (NINE, MeasureSpec(min_samples=73), False),  # of 72
        (NINE, MeasureSpec(min_time_s=1.9), False),  # of 1.8 s
        ([9.0, 11.0, 10.0, 9.0, 11.0, 10.0, 9.0, 11.0, 10.0], MeasureSpec(), False),  # 9 to 11 around 10 is 10%
        ([9.0, 11.0, 10.0, 9.0, 11.0, 10.0, 9.0, 11.0, 10.0], MeasureSpec(rel_precision=0.1), True),
        ([9.0, 11.0, 10.0, 9.0, 11.0, 10.0, 9.0, 11.0, 10.0], MeasureSpec(rel_precision=None), True),
    ],
)
def test_it_is_stable_where_counts_time_and_precision_are_reached(
    medians: list[float], spec: MeasureSpec, stable: bool
) -> None:
    # The worker does not know: whatever it wrote is replaced.
    made = replace(timed(*medians), stable=not stable)
    found = with_states(made, turns(medians, [None] * len(medians), spec))
    assert found is not None
    assert found.stable is stable


def test_a_check_that_was_made_by_the_first_process_is_the_one_that_is_kept() -> None:
    better: Fidelity = replace(WRONG, ok=True, reason=None)
    assert merged([timed(10.0), replace(timed(10.0), fidelity=better)]).fidelity == timed(10.0).fidelity
