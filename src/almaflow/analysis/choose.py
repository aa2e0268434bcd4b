"""The conversion that is best under limits, and what each other one failed by."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from almaflow.analysis.metric_names import more_is_better, value_of
from almaflow.stats import PERCENTILE_SAMPLES, Interval, exceeds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from almaflow.records import Choosing

    Metrics = Mapping[str, float | None]

BY_LATENCY = frozenset({"latency_ms", "throughput", "speedup_vs_eager", "speedup_vs_inductor"})
"""Metrics by which two conversions are told apart as by their latencies; by any other, only equal ones are tied."""


@dataclass(frozen=True)
class Choice:
    """The conversions that keep to the limits, and those that do not; of those whose latency counts."""

    max: dict[str, float] = field(default_factory=dict)
    min: dict[str, float] = field(default_factory=dict)
    by: str = "latency_ms"
    conversion: str | None = None
    """The best that fits; None where none does."""
    value: float | None = None
    """Its ``by``."""
    fitting: list[str] = field(default_factory=list)
    """All that fit, the best first."""
    tied_with_chosen: list[str] = field(default_factory=list)
    """Those of ``fitting`` that are not told apart from the best."""
    rejected: dict[str, list[str]] = field(default_factory=dict)
    """The others by name, each with what it failed by: ``latency/p99 31 > 20``."""


def choose(
    candidates: Mapping[str, Metrics],
    asked: Choosing,
    tied: Callable[[str, str], bool] | None = None,
    fallen: Mapping[str, str] | None = None,
    lower_is_better: Collection[str] = (),
) -> Choice:
    """Choose the best conversion under limits. A conversion without a metric that is asked for does not fit.

    Of conversions that are equal by ``asked.by`` the fastest comes first.

    Args:
        candidates: The metrics of each conversion that may be chosen, by its name.
        asked: The limits, and the metric by which the best is chosen.
        tied: Whether the first of two candidates is not faster for certain than the second; by default, where the 95%
            intervals of their medians overlap, or are not known.
        fallen: Why others cannot be chosen although their latency counts, by their names.
        lower_is_better: Figures of quality of which less is better although their names do not say so.
    """
    failed_by = {name: shortfalls(each, asked) for name, each in candidates.items()}
    sign = -1.0 if more_is_better(asked.by, lower_is_better) else 1.0

    def rank(name: str) -> tuple[float, float]:
        by, latency_ms = value_of(candidates[name], asked.by), candidates[name].get("latency_ms")
        return sign * (math.inf if by is None else by), math.inf if latency_ms is None else latency_ms

    fitting = sorted((name for name, reasons in failed_by.items() if not reasons), key=rank)
    best = fitting[0] if fitting else None
    return Choice(
        max=dict(asked.max),
        min=dict(asked.min),
        by=asked.by,
        conversion=best,
        value=value_of(candidates[best], asked.by) if best else None,
        fitting=fitting,
        tied_with_chosen=[name for name in fitting[1:] if best and _tied(best, name, candidates, asked.by, tied)],
        rejected={name: reasons for name, reasons in failed_by.items() if reasons}
        | {name: [reason] for name, reason in (fallen or {}).items()},
    )


def candidates_of(output: Mapping[str, Any]) -> dict[str, Metrics]:
    """Return the conversions of ``output=FILE.json`` that may be chosen, by name.

    Their latency counts, and their quality on labelled data did not fall by more than was allowed.
    """
    return {each["conversion"]: each for each in _counting(output) if each.get("quality_ok") is not False}


def fallen_in(output: Mapping[str, Any]) -> dict[str, str]:
    """Return why others of ``output=FILE.json`` cannot be chosen although their latency counts, by name."""
    return {
        each["conversion"]: each["quality_verdict"] for each in _counting(output) if each.get("quality_ok") is False
    }


def _counting(output: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    return (each for each in output["conversions"] if each["latency_ms"] is not None)


def apart(value: float, limit: float) -> tuple[str, str]:
    """Return two different numbers with as many digits as tell them apart, four at least."""
    texts = (tuple(f"{each:.{digits}g}" for each in (value, limit)) for digits in range(4, 18))
    one, other = next((pair for pair in texts if pair[0] != pair[1]), (str(value), str(limit)))
    return one, other


def shortfalls(metrics: Metrics, asked: Choosing) -> list[str]:
    """Return what keeps a conversion from being chosen: limits that it does not keep to, and metrics that it lacks."""
    return list(dict.fromkeys(_shortfalls(metrics, asked)))


def _shortfalls(metrics: Metrics, asked: Choosing) -> Iterator[str]:
    for sign, limits in ((">", asked.max), ("<", asked.min)):
        for name, limit in limits.items():
            value = value_of(metrics, name)
            if value is None:
                yield _lacking(name)
            elif exceeds(value, limit) if sign == ">" else exceeds(limit, value):
                yield f"{name} {f' {sign} '.join(apart(value, limit))}"
    if value_of(metrics, asked.by) is None:
        yield _lacking(asked.by)


def _lacking(name: str) -> str:
    needed = next((count for percent, count in PERCENTILE_SAMPLES.items() if name == f"latency/p{percent}"), None)
    return f"has no {name}" + (f", which takes measure.min_samples={needed}" if needed else "")


def _tied(
    best: str, other: str, candidates: Mapping[str, Metrics], by: str, tied: Callable[[str, str], bool] | None
) -> bool:
    one, another = candidates[best], candidates[other]
    if by not in BY_LATENCY:
        return value_of(one, by) == value_of(another, by)
    if tied:
        return tied(best, other)
    first, second = _interval(one), _interval(another)
    return first is None or second is None or first.overlaps(second)


def _interval(metrics: Metrics) -> Interval | None:
    low, high = metrics.get("latency/ci_low"), metrics.get("latency/ci_high")
    return None if low is None or high is None else Interval(low, high)
