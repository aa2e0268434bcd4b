"""The speedup of one conversion over another, as far as the rounds of both can tell it.

The best estimate is the ratio of rounds taken next to each other (``rounds.ratio``): what slows the whole machine
cancels out. It does not where other processes slow one neighbour and leave the other, or slow one conversion more than
the other: threads that wait for each other suffer tenfold, a single thread hardly at all. So rounds that are known to
have been disturbed are left out where enough others remain.

Where the rounds tell too little, the ratio of the floors takes their place: the fastest calls were disturbed least. It
is trusted where each side reached its floor in several rounds, and is never sure. Where that fails too, there is no
value.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from statistics import median
from typing import TYPE_CHECKING

from almaflow.stats.rounds import APART, FAR, contradicts, latency_interval, ratio
from almaflow.stats.samples import floor_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.stats.intervals import Interval
    from almaflow.stats.rounds import Ratio, RoundMedian

SURE = 1.3
"""A speedup is given as one figure where its 95% interval lies within this factor of it, either way."""

REACHED = 3
"""Rounds in which a side must have come near its floor: one or two may be the luck of a few calls."""

REACHED_BUSY = 6
"""The same where fewer than ``REACHED`` rounds of either side were quiet: slowed calls may be alike too."""


@dataclass(frozen=True)
class TimedRound:
    """The calls of one round."""

    middle: RoundMedian
    samples_ms: Sequence[float]
    """At least one."""
    disturbed: bool = False
    """Whether others are known to have taken much of the machine meanwhile."""


@dataclass(frozen=True)
class Speedup:
    """How many times faster one is than the other."""

    value: float | None
    """None where the rounds tell too little for one figure."""
    interval: Interval | None
    """95% interval of the ratio of neighbouring rounds; None where one has fewer than six in common."""
    floors: float
    """Ratio of the floors."""
    sure: bool
    """Whether the value is that of undisturbed rounds, whose interval lies within ``SURE`` of it."""

    @property
    def above_one(self) -> bool:
        """Whether the one is faster for certain: by the whole interval, and by the floors where it is not sure."""
        return self.interval is not None and self.interval.low > 1 and (self.sure or self.floors > 1)


def is_precise(value: float, interval: Interval) -> bool:
    """Whether the interval of a positive value lies within ``SURE`` of it."""
    return interval.high <= SURE * value and value <= SURE * interval.low


def speedup(slower: Sequence[TimedRound], faster: Sequence[TimedRound]) -> Speedup | None:
    """Divide the latency of ``slower`` by that of ``faster``; None where either has no round, or one of zero length.

    Args:
        slower: The rounds of one conversion, in their order.
        faster: Those of another one, on the same machine in the same job.
    """
    if not slower or not faster or min(min(each.samples_ms) for each in (*slower, *faster)) <= 0:
        return None
    floors = _floor(slower) / _floor(faster)
    quiet = [[each for each in side if not each.disturbed] for side in (slower, faster)]
    sides, disturbed = (slower, faster), any(each.disturbed for each in (*slower, *faster))
    paired = ratio(*([each.middle for each in side] for side in quiet))
    if disturbed and paired and paired.interval:
        sides, disturbed = (quiet[0], quiet[1]), False
    elif disturbed:
        paired = ratio(*([each.middle for each in side] for side in sides))
    medians = _median(sides[0]) / _median(sides[1])
    interval, value = (paired.interval, paired.value) if paired else (None, medians)
    if not disturbed:
        precise = interval and is_precise(value, interval) and _factor(value, floors) <= FAR
        if precise and not (paired and _contradicted(paired, *sides)):
            return Speedup(value, interval, floors, sure=True)
        if interval is None and max(_factor(value, floors), _factor(value, medians)) <= SURE:
            return Speedup(value, None, floors, sure=False)
    busy = min(map(len, quiet)) < min(REACHED, len(slower), len(faster))
    reached = all(_reached(side, REACHED_BUSY if busy else REACHED) for side in (slower, faster))
    if reached and (interval is None or _near(floors, interval)):
        return Speedup(floors, interval, floors, sure=False)
    return Speedup(None, None if busy else interval, floors, sure=False)


def _contradicted(paired: Ratio, slower: Sequence[TimedRound], faster: Sequence[TimedRound]) -> bool:
    medians = _median(slower), _median(faster)
    if _factor(paired.value, medians[0] / medians[1]) <= APART:  # as nearly always; the intervals take time
        return False
    intervals = [latency_interval([each.middle for each in side]) for side in (slower, faster)]
    return contradicts(paired, (medians[0], intervals[0]), (medians[1], intervals[1]))


def _median(side: Sequence[TimedRound]) -> float:
    return median(chain.from_iterable(each.samples_ms for each in side))


def _floor(side: Sequence[TimedRound]) -> float:
    return floor_of([sample for each in side for sample in each.samples_ms])


def _reached(side: Sequence[TimedRound], rounds: int) -> bool:
    """Whether so many rounds came near the floor, and none was far below it, as where hardly a call was quiet."""
    lowest = sorted(min(each.samples_ms) for each in side)[:rounds]
    floor = _floor(side)
    return len(lowest) == rounds and floor / SURE <= lowest[0] and lowest[-1] <= floor * APART


def _near(floors: float, interval: Interval) -> bool:
    return interval.low / SURE <= floors <= interval.high * SURE


def _factor(one: float, other: float) -> float:
    return max(one / other, other / one)
