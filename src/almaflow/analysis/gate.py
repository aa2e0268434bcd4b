"""The gate of a change: whether a conversion became worse than it may, by more than noise."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from almaflow.analysis.compare import ABSOLUTE, INTERVAL, SHARES
from almaflow.analysis.metric_names import more_is_better, value_of
from almaflow.analysis.stops import rounds_with_samples
from almaflow.analysis.warnings import OTHERS_CPUS, STEAL_CPUS
from almaflow.stats import Interval, exceeds, floor_of, interval_over_rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from almaflow.analysis.compare import Comparison, Side
    from almaflow.records import Outcome

PASSED, FAILED, NOISE, UNKNOWN = "passed", "failed", "within noise", "not judged"

_LOGGED = {
    "latency_ms": INTERVAL,
    "speedup_vs_eager": ("speedup/vs_eager_ci_low", "speedup/vs_eager_ci_high"),
    "speedup_vs_inductor": ("speedup/vs_inductor_ci_low", "speedup/vs_inductor_ci_high"),
}
"""Metrics that are logged with their intervals."""
_OF_SAMPLES = {f"latency/{name}": name for name in ("floor", "mean", "min", "max", "p90", "p95", "p99")}
_OF_SAMPLES |= {"throughput": "mean"}
"""Metrics whose intervals come from the samples, with the figure that does."""


@dataclass(frozen=True)
class Judged:
    """The verdict on one metric of one conversion."""

    workload: tuple[str, str, str]
    """Model, batch size and conversion."""
    metric: str
    """Empty where the conversion itself is the reason."""
    verdict: str
    """``passed``, ``failed``, ``within noise`` or ``not judged``."""
    why: str
    limit: float | None = None
    before: float | None = None
    after: float | None = None
    worse: float | None = None
    """By how much it became worse: percent of ``before``, or points where the metric is in percent, in decibels or a
    share; negative where it became better."""


def gate(
    before: Sequence[Side],
    comparisons: Sequence[Comparison],
    limits: Mapping[str, float],
    outcome: Callable[[Side], Outcome | None],
) -> list[Judged]:
    """Judge all conversions that gave a latency that counts before the change.

    One that gives none after it, or is not there, fails. A metric fails where it became worse by more than its limit,
    and the 95% intervals of both, where it has any, have no point in common; not where the machine was busy after it.

    Args:
        before: All results before the change.
        comparisons: Those that have a counterpart.
        limits: The most that each metric may become worse, in percent, or in points.
        outcome: Reads what was measured, for metrics whose intervals are not logged; None where it cannot be read.
    """
    after = {pair.before.workload: pair.after for pair in comparisons}
    judged: list[Judged] = []
    for side in before:
        if not side.counts:
            continue
        other = after.get(side.workload)
        if other is None:
            judged.append(Judged(side.workload, "", FAILED, "not there any more"))
        elif not other.counts:
            judged.append(Judged(side.workload, "", FAILED, f"no latency that counts any more: {other.ending}"))
        else:
            judged += [_judge(side, other, metric, limit, outcome) for metric, limit in limits.items()]
    return judged


def undecided(judged: Sequence[Judged]) -> list[Judged]:
    """Return what keeps the gate from a verdict where nothing failed.

    That is whatever became worse by more than its limit and could not be judged; or all, where nothing was.
    """
    unknown = [each for each in judged if each.verdict == UNKNOWN]
    return unknown if len(unknown) == len(judged) else [each for each in unknown if each.worse is not None]


def _judge(before: Side, after: Side, metric: str, limit: float, outcome: Callable[[Side], Outcome | None]) -> Judged:
    first, second = value_of(before.metrics, metric), value_of(after.metrics, metric)
    told = partial(Judged, before.workload, metric, limit=limit, before=first, after=second)
    if first is None:
        return told(UNKNOWN, f"{before.label} has no {metric}")
    if second is None:
        return told(FAILED, f"no {metric} any more")
    more = more_is_better(metric, (*before.lower_is_better, *after.lower_is_better))
    worse = _worse(metric, first, second, more=more)
    if not exceeds(worse, limit):
        return told(PASSED, "within the limit", worse=worse)
    if metric not in _LOGGED | _OF_SAMPLES:
        return told(FAILED, "above the limit; this metric has no interval", worse=worse)
    first_interval, second_interval = (_interval(side, metric, outcome) for side in (before, after))
    return told(*_beside_noise(first_interval, second_interval, after.metrics), worse=worse)


def _beside_noise(
    before: Interval | None, after: Interval | None, metrics_after: Mapping[str, float]
) -> tuple[str, str]:
    """Return the verdict, and why, on a difference above the limit.

    Others that took processors make what was timed slower, so that it says nothing. Before the change they do not
    matter: what is slower than even that became slower.
    """
    if before is None or after is None:
        return UNKNOWN, "above the limit, and too few rounds for an interval"
    if before.overlaps(after):
        return NOISE, "above the limit, and the intervals overlap"
    for name, least in (("machine/others_cpus", OTHERS_CPUS), ("machine/steal_cpus", STEAL_CPUS)):
        if (taken := metrics_after.get(name, 0.0)) >= least:
            return UNKNOWN, f"above the limit, and others took {taken:.1f} CPUs meanwhile: measure again"
    return FAILED, "above the limit, and the intervals have no point in common"


def _worse(metric: str, before: float, after: float, *, more: bool) -> float:
    if before == after:
        return 0.0
    change = before - after if more else after - before
    if metric.endswith(ABSOLUTE):
        return 100 * change if metric.endswith(SHARES) else change
    return 100 * change / abs(before) if before else math.copysign(math.inf, change)


def _interval(side: Side, metric: str, outcome: Callable[[Side], Outcome | None]) -> Interval | None:
    if metric in _LOGGED:
        low, high = (side.metrics.get(name) for name in _LOGGED[metric])
        return None if low is None or high is None else Interval(low, high)
    known = outcome(side)
    processes: dict[int, list[Sequence[float]]] = defaultdict(list)
    for each, samples in rounds_with_samples(known.measurement) if known and known.measurement else ():
        processes[each.replicate].append(samples)
    found = interval_over_rounds(list(processes.values()), partial(_figure, _OF_SAMPLES[metric]))
    if found is None or metric != "throughput":
        return found
    # The rate is the reciprocal of the mean, times the samples of a batch.
    per_mean = side.metrics["throughput"] * side.metrics["latency/mean"]
    return Interval(per_mean / found.high, per_mean / found.low) if found.low > 0 else None


def _figure(name: str, samples: NDArray[np.float64]) -> float:
    import numpy as np

    if name == "floor":
        return floor_of(samples)
    return float(np.quantile(samples, int(name[1:]) / 100) if name.startswith("p") else getattr(np, name)(samples))
