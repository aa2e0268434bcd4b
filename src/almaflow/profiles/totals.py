"""What a whole function takes, from its graphs' latencies and the Python between: the mean over its calls as they came.

Each call keeps its own sequence of graphs, so that growing sizes and branches count as often as they happened. The
graphs of a conversion are measured once each; their errors are taken for independent of each other and of Python's, so
that the squares of what they contribute to half the interval add up.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import TYPE_CHECKING

from almaflow.stats.errors import mean_figure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from almaflow.profiles.workload import CallCut

FEWEST_FOR_PERCENTILES = 20
"""Calls from which on percentiles over them are given."""
MILLION_CALLS_IN_HOURS = 1e6 / 3.6e6
"""Hours that a million calls of a millisecond take."""


@dataclass(frozen=True)
class Latency:
    """The time of one call of a segment in one conversion, in milliseconds."""

    ms: float
    low: float | None = None
    high: float | None = None
    conversion: str = ""
    """What it was measured in, which is ``EAGER`` where it was not sent."""
    interpolated: bool = False
    recorded: bool = False
    """Whether it is that of its eager calls in the session."""


@dataclass(frozen=True)
class Total:
    """The time of one call of a function, in milliseconds, as the mean over its calls."""

    ms: float
    backend_ms: float
    """Share of the graphs."""
    python_ms: float
    low_ms: float | None
    """Lower end of the 95% interval; None where Python's time has none."""
    high_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    """Percentile over the calls, each of which has the sequence of graphs that it had; None below 20 calls."""
    cost_per_million_usd: float | None


def total(
    calls: Sequence[CallCut], latencies: Mapping[str, Latency], price_per_hour: float | None = None
) -> Total | None:
    """Return what a function takes; None where a segment that it calls has no latency, or no call tells Python's time.

    Args:
        calls: The calls of the function.
        latencies: What each segment takes, by its ID.
        price_per_hour: USD for an hour of the machine.
    """
    python, graphs = _python(calls), _graphs(calls, latencies)
    if python is None or graphs is None:
        return None
    whole = [sum(pair) for pair in zip(graphs, python, strict=True)]
    ms = fmean(whole)
    below, above = _halves(calls, latencies)
    low = None if below is None else max(ms - below, 0.0)
    high = None if above is None else ms + above
    p50, p95 = _percentiles(whole)
    cost = None if price_per_hour is None else price_per_hour * ms * MILLION_CALLS_IN_HOURS
    return Total(ms, fmean(graphs), fmean(python), low, high, p50, p95, cost)


def median_total_ms(calls: Sequence[CallCut], latencies: Mapping[str, Latency]) -> float | None:
    """Return the median over the calls, where ``total`` has the mean; None as there."""
    python, graphs = _python(calls), _graphs(calls, latencies)
    if python is None or graphs is None:
        return None
    return median(sum(pair) for pair in zip(graphs, python, strict=True))


def total_of_others(
    known: Sequence[CallCut], calls: Sequence[CallCut], latencies: Mapping[str, Latency]
) -> Total | None:
    """Return what other calls than the known ones take, whose own times do not count; None as of ``total``.

    Python's time is the median of known calls with the same graphs: these are few, and one may have been held up.

    Args:
        known: Calls that tell Python's time.
        calls: The others: the total is of these alone.
        latencies: What each segment takes, by its ID.
    """
    python = _python([*known, *calls], median)
    if python is None:
        return None
    filled = zip(calls, python[len(known) :], strict=True)
    return total([replace(call, python_ms=ms) for call, ms in filled], latencies)


def graphs_ms(calls: Sequence[CallCut], latencies: Mapping[str, Latency]) -> float | None:
    """Return what the graphs of a call take, as a mean in milliseconds; None where one of them has no latency."""
    graphs = _graphs(calls, latencies)
    return None if graphs is None else fmean(graphs)


def _graphs(calls: Sequence[CallCut], latencies: Mapping[str, Latency]) -> list[float] | None:
    if not calls or any(each not in latencies for call in calls for each in call.segments):
        return None
    return [sum(latencies[each].ms for each in call.segments) for call in calls]


def _python(calls: Sequence[CallCut], middle: Callable[[list[float]], float] = fmean) -> list[float] | None:
    """Return Python's time of each call; where it does not count, the mean of calls with the same graphs, else of all.

    None where no call tells it.
    """
    known: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for call in calls:
        if call.python_ms is not None:
            known[call.segments].append(call.python_ms)
    if not known:
        return None
    of_all = middle([value for values in known.values() for value in values])
    alike = {segments: middle(values) for segments, values in known.items()}
    return [alike.get(call.segments, of_all) if call.python_ms is None else call.python_ms for call in calls]


def _halves(calls: Sequence[CallCut], latencies: Mapping[str, Latency]) -> tuple[float | None, float | None]:
    """Return how far the interval reaches below and above the mean; None where a part has no interval."""
    interval = mean_figure([call.python_ms for call in calls if call.python_ms is not None]).interval
    counts: dict[str, int] = defaultdict(int)
    for call in calls:
        for each in call.segments:
            counts[each] += 1
    used = [(counts[each] / len(calls), latencies[each]) for each in counts]
    if interval is None:
        return None, None
    below = above = interval.half_width**2
    for share, latency in used:
        if latency.low is None or latency.high is None:
            return None, None
        below += (share * (latency.ms - latency.low)) ** 2
        above += (share * (latency.high - latency.ms)) ** 2
    return math.sqrt(below), math.sqrt(above)


def _percentiles(whole: Sequence[float]) -> tuple[float | None, float | None]:
    import numpy as np

    if len(whole) < FEWEST_FOR_PERCENTILES:
        return None, None
    p50, p95 = np.quantile(np.asarray(whole, float), [0.5, 0.95])
    return float(p50), float(p95)
