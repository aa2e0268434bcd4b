"""Figures from the medians of rounds: one conversion's interval, the ratio of two, the spread between processes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import chain
from statistics import median
from typing import TYPE_CHECKING

from almaflow.stats.intervals import FEWEST, Interval, hull, independent_draws, series_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

UNSURE_FROM = 0.1
"""Half the width of a median's interval, as a share of the median, from which on the median is marked."""

FAR = 1.5
"""Two estimates of one ratio contradict each other where one is more than this many times the other."""

APART = 1.1
"""So they do from this factor on, where neither lies within the other's interval."""


@dataclass(frozen=True)
class RoundMedian:
    """The median of one round. Rounds of two conversions with equal ``replicate`` and ``index`` are neighbours."""

    replicate: int
    index: int
    """Number of the round, from 1 on; 0 for a round without neighbours."""
    median_ms: float


@dataclass(frozen=True)
class Ratio:
    """Speedup of one conversion over another, and how sure it is."""

    value: float
    interval: Interval | None
    """95% interval; over several processes, the hull of theirs. None where one has fewer than six rounds in common."""
    pairs: int


@dataclass(frozen=True)
class Spread:
    """Spread of the medians of fresh processes of the same work."""

    processes: int
    low_ms: float
    high_ms: float
    """``low_ms`` and ``high_ms`` are the lowest and the highest of the processes' medians."""
    relative: float
    """(high - low) / median of the processes' medians, without unit."""


def latency_interval(rounds: Sequence[RoundMedian]) -> Interval | None:
    """Return the 95% interval of the median latency: from one process's rounds; over several, the hull of theirs."""
    return hull([series_interval(medians) for medians in _by_process(rounds).values()])


def is_settled(medians_ms: Sequence[float], rel_precision: float | None) -> bool:
    """Whether the interval of the median is as narrow as wanted.

    Args:
        medians_ms: Medians of the rounds of one process, in their order.
        rel_precision: Half the interval's width as a share of the median, at most; None accepts any.
    """
    if rel_precision is None:
        return True
    if independent_draws(medians_ms) < FEWEST:  # too few for an interval of 95%
        return False
    interval = series_interval(medians_ms)
    return interval is not None and interval.half_width <= rel_precision * median(medians_ms)


def ratio(slower: Sequence[RoundMedian], faster: Sequence[RoundMedian]) -> Ratio | None:
    """Divide ``slower`` by ``faster``: the median over the rounds that were taken next to each other.

    A disturbance of the whole machine slows both neighbours and leaves their ratio. None where they have no round in
    common, or one of zero length.
    """
    neighbours = {(each.replicate, each.index): each.median_ms for each in faster if each.index}
    ratios: dict[int, list[float]] = defaultdict(list)
    for each in sorted(slower, key=lambda each: each.index):
        below = neighbours.get((each.replicate, each.index))
        if below is None:
            continue
        if min(each.median_ms, below) <= 0:
            return None
        ratios[each.replicate].append(each.median_ms / below)
    if not ratios:
        return None
    together = list(chain.from_iterable(ratios.values()))
    return Ratio(median(together), hull([series_interval(own) for own in ratios.values()]), len(together))


def is_unsure(median_ms: float, interval: Interval | None) -> bool:
    """Whether the interval of a median is wider than ``UNSURE_FROM`` either way; not where there is none."""
    return interval is not None and interval.half_width > UNSURE_FROM * median_ms


def contradicts(paired: Ratio, slower: tuple[float, Interval | None], faster: tuple[float, Interval | None]) -> bool:
    """Whether a ratio over rounds next to each other is another one than the two medians give.

    So it is where one side goes back and forth between two speeds: a round at the higher speed has more calls, and
    weighs more in the median of all calls than in that of the rounds.

    Args:
        paired: What ``ratio`` returns.
        slower: The median of all calls, above zero, and the interval of ``latency_interval``.
        faster: The same of the other side.
    """
    (above_ms, above), (below_ms, below) = slower, faster
    medians = above_ms / below_ms
    apart = max(paired.value / medians, medians / paired.value)
    if apart > FAR or not (paired.interval and above and below and below.low > 0):
        return apart > FAR
    of_medians = Interval(above.low / below.high, above.high / below.low)
    return apart > APART and medians not in paired.interval and paired.value not in of_medians


def spread_between(rounds: Sequence[RoundMedian]) -> Spread | None:
    """Return how far the medians of fresh processes lie apart; None for one process, or where the clock read zero."""
    middles = [median(medians) for medians in _by_process(rounds).values()]
    if len(middles) < 2 or median(middles) <= 0:  # noqa: PLR2004 - one process has nothing to differ from
        return None
    low, high = min(middles), max(middles)
    return Spread(len(middles), low, high, (high - low) / median(middles))


def _by_process(rounds: Iterable[RoundMedian]) -> dict[int, list[float]]:
    medians: dict[int, list[float]] = defaultdict(list)
    for each in sorted(rounds, key=lambda each: each.index):
        medians[each.replicate].append(each.median_ms)
    return medians
