"""Metrics from the rounds of one conversion: how sure its median is, how far processes differ, how the machine was."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from almaflow.analysis.state import is_disturbed, state_metrics
from almaflow.analysis.stops import counted_samples, rounds_with_samples, steady_rounds
from almaflow.stats import RoundMedian, Speedup, TimedRound, is_unsure, latency_interval, speedup, spread_between

if TYPE_CHECKING:
    from almaflow.records import Measurement, Outcome


def round_medians(outcome: Outcome) -> tuple[RoundMedian, ...]:
    """Return the median of each round that was taken, in order, without samples that a stop explains."""
    if outcome.measurement is None:
        return ()
    rounds = rounds_with_samples(outcome.measurement)
    return tuple(RoundMedian(each.replicate, each.index, median(samples)) for each, samples in rounds if samples)


def timed_rounds(outcome: Outcome, threads: int) -> tuple[TimedRound, ...]:
    """Return the rounds of ``round_medians`` with their samples, and whether others disturbed the job's threads."""
    if outcome.measurement is None:
        return ()
    return tuple(
        TimedRound(RoundMedian(each.replicate, each.index, median(samples)), samples, is_disturbed(each.state, threads))
        for each, samples in rounds_with_samples(outcome.measurement)
        if samples
    )


def speedup_over(baseline: Outcome, outcome: Outcome, threads: int) -> Speedup | None:
    """Return how many times faster an outcome is than another one; None where one was not taken in rounds."""
    return speedup(timed_rounds(baseline, threads), timed_rounds(outcome, threads))


def same_attempt(one: Outcome, other: Outcome) -> bool:
    """Whether both were measured in one attempt: a resumed job goes on with the numbers of its processes."""
    first, second = ({each.replicate for each in round_medians(outcome)} for outcome in (one, other))
    return not first or not second or bool(first & second)


def is_stable(outcome: Outcome) -> bool:
    """Whether the measurement got what was asked for, and the interval of its median is within 10% either way."""
    measured = outcome.measurement
    if measured is None or not measured.stable:
        return False
    return not is_unsure(median(counted_samples(measured)), latency_interval(round_medians(outcome)))


def round_metrics(outcome: Outcome) -> dict[str, float | None]:
    """Return metrics of the rounds by their names in MLflow: None for one that is not known, empty without rounds."""
    measured, medians = outcome.measurement, round_medians(outcome)
    if measured is None or not medians:
        return {}
    interval, spread = latency_interval(medians), spread_between(medians)
    states = [each.state for each in measured.rounds if each.state]
    steady = steady_rounds(measured)
    wall_s = sum(each.wall_s for each in steady)
    metrics: dict[str, float | None] = {
        "latency/rounds": len(medians),
        "latency/ci_low": interval.low if interval else None,
        "latency/ci_high": interval.high if interval else None,
        "latency/device": median(measured.device_samples_ms) if measured.device_samples_ms else None,
        "noise/processes": len({each.replicate for each in medians}),
        "noise/between_processes": spread.relative if spread else None,
        "machine/control_ms": median(each.control_ms for each in measured.rounds),
        "machine/cpus_used": sum(each.cpu_s for each in steady) / wall_s if wall_s > 0 else None,
        "energy/j_per_sample": _energy(measured),
    }
    return metrics | state_metrics(states)


def _energy(measured: Measurement) -> float | None:
    """Joules for each sample: the mean power while the rounds were watched, times the time that their calls took.

    The power includes a round's control workload and untimed calls, the time does not.
    """
    energy_j = watched_s = wall_s = 0.0
    calls = 0
    for each in steady_rounds(measured):
        if each.state and each.state.energy_j is not None and each.state.watched_s:
            energy_j, watched_s = energy_j + each.state.energy_j, watched_s + each.state.watched_s
            wall_s, calls = wall_s + each.wall_s, calls + each.count
    return energy_j / watched_s * wall_s / (calls * measured.batch_size) if calls else None
