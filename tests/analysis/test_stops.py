"""Calls during which the process or the machine was stopped are kept, told, and not in the figures."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.example_jobs import changed, in_rounds, job, ok

from almaflow.analysis import counts, outcome_metrics
from almaflow.analysis.stops import left_out, note_of_stops
from almaflow.records import MachineState, Measurement, MeasureSpec, Outcome

FIVE = [5.0] * 9
STOPPED = MachineState(stops_s=(30.1,))


def measurement_of(outcome: Outcome) -> Measurement:
    assert outcome.measurement is not None
    return outcome.measurement


def stopped(name: str = "ONNX_CPU", at: int = 13, *, seen: bool = True, calls: int = 3) -> Outcome:
    """Nine rounds of calls of 5 ms, and a stop of 30 s in one of the calls."""
    states = [STOPPED if seen and index == at // calls else None for index in range(9)]
    outcome = in_rounds(ok(name), FIVE, calls=calls, states=states)
    measured = measurement_of(outcome)
    samples = tuple(each + 30_000.0 * (index == at) for index, each in enumerate(measured.samples_ms))
    rounds = tuple(
        replace(each, wall_s=each.wall_s + 30.0 * (index == at // calls)) for index, each in enumerate(measured.rounds)
    )
    return changed(outcome, samples_ms=samples, rounds=rounds)


def test_the_figures_are_those_without_the_stop() -> None:
    without, found = in_rounds(ok("ONNX_CPU"), FIVE), stopped()
    expected = outcome_metrics(job(without), without)
    metrics = outcome_metrics(job(found), found)
    assert metrics["latency/samples"] == 26.0
    assert metrics["latency/max"] < 6.0
    for name in ("throughput", "latency_ms", "latency/mean", "latency/ci_high", "machine/cpus_used"):
        assert metrics[name] == pytest.approx(expected[name], rel=0.01), name


def test_the_call_stays_among_the_samples_and_is_told() -> None:
    measured = measurement_of(stopped())
    assert measured.samples_ms[13] > 30_000
    assert left_out(measured) == {13}
    assert note_of_stops(measured) == (
        "1 call of 30.0 s in all left out of the figures: the process or the machine was stopped"
    )
    assert note_of_stops(measurement_of(in_rounds(ok(), FIVE))) is None


def test_a_long_call_that_nobody_saw_stopped_counts() -> None:
    found = stopped(seen=False)
    metrics = outcome_metrics(job(found), found)
    assert metrics["latency/samples"] == 27.0
    assert metrics["latency/max"] > 30_000


def test_a_round_that_was_no_more_than_a_stop_has_no_median() -> None:
    found = stopped(at=4, calls=1)
    assert counts(found)
    metrics = outcome_metrics(job(found), found)
    assert (metrics["latency/rounds"], metrics["latency/samples"]) == (8.0, 8.0)


def test_the_rate_under_load_is_that_of_the_rounds_without_a_stop() -> None:
    without, found = in_rounds(ok("ONNX_CPU"), FIVE), stopped()
    under_load = replace(job(found), measure=MeasureSpec(streams=2))
    assert outcome_metrics(under_load, found)["throughput"] == pytest.approx(
        outcome_metrics(replace(job(without), measure=MeasureSpec(streams=2)), without)["throughput"]
    )
