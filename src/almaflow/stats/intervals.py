"""Intervals of medians, which assume nothing about the shape of what was measured.

Single calls that follow each other are not independent: a machine is slow for seconds at a time, so that an interval
from the calls would be far too narrow. So it is drawn from rounds, stretches of calls with those of other conversions
between them: each round gives its median, and the interval is that of the median of these. Its ends are two of the
rounds' medians themselves, chosen by the binomial distribution (the sign test inverted: W. J. Conover, Practical
Nonparametric Statistics, 3rd edition 1999, section 3.2; ``scipy.stats.quantile_test``). Below six rounds no interval of
95% exists.

Rounds that follow each other are still alike where the machine stays slow for longer than one. n of them with a
correlation r between neighbours say as much as n (1 - r) / (1 + r) independent ones (D. S. Wilks, Statistical Methods
in the Atmospheric Sciences, 3rd edition 2011, section 5.2.4), and the ends are chosen for so many. r is that of the
ranks, so that one outlier does not hide it, and corrected for what so few rounds underestimate it by: (n r + 1) /
(n - 4), after F. H. C. Marriott and J. A. Pope, and M. G. Kendall, both in Biometrika 41 (1954).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95

FEWEST = 6
"""Independent values from which on an interval of 95% exists: 1 - 2 (1/2)^6 is 97%."""


@dataclass(frozen=True)
class Interval:
    """Two ends, in the unit of the figure; ``low`` is no more than ``high``."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Distance of either end from the middle."""
        return (self.high - self.low) / 2

    def __contains__(self, value: float) -> bool:
        """Whether the value lies between the ends, or on one."""
        return self.low <= value <= self.high

    def overlaps(self, other: Interval) -> bool:
        """Whether the two have a point in common."""
        return self.low <= other.high and other.low <= self.high


def median_interval(
    values: Sequence[float], confidence: float = CONFIDENCE, draws: int | None = None
) -> Interval | None:
    """Return an interval for the median of what the values were drawn from; None where they are too few for one.

    Args:
        values: The values, in any order.
        confidence: How often such an interval holds the true median, at least.
        draws: The number of independent values that they count as, at least two; by default all of them. Where so few
            give no interval of that confidence, its ends are the lowest and the highest value, the widest there is.
    """
    count = len(values)
    if _ranks(count, confidence) is None:
        return None
    draws = count if draws is None else draws
    low, high = _ranks(draws, confidence) or (0, draws - 1)
    ordered = sorted(values)
    # In whole numbers: a fraction that is a little too large would point behind the last value.
    last, gaps = count - 1, draws - 1
    return Interval(ordered[low * last // gaps], ordered[-(-high * last // gaps)])


def series_interval(values: Sequence[float]) -> Interval | None:
    """Return the 95% interval of the median of a series, whose neighbours may be alike; None below six values.

    Args:
        values: The values in the order in which they were taken, such as the medians of rounds.
    """
    return median_interval(values, draws=independent_draws(values))


def independent_draws(values: Sequence[float]) -> int:
    """Return the number of independent values that a series counts as: at least two, and no more than there are."""
    import numpy as np

    count = len(values)
    _, groups, sizes = np.unique(np.asarray(values, float), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[groups] - (count + 1) / 2  # equal values share their mean rank
    variation = float(ranks @ ranks)
    if count < FEWEST or not variation:
        return max(2, count)
    correlation = (count * float(ranks[1:] @ ranks[:-1]) / variation + 1) / (count - 4)
    correlation = min(max(correlation, 0.0), 1.0)
    return max(2, round(count * (1 - correlation) / (1 + correlation)))


@cache
def _ranks(count: int, confidence: float) -> tuple[int, int] | None:
    """Return the ranks of the values that are the interval's ends, from 0 on: the values themselves do not matter.

    They are cached, since each worker needs an interval at each turn. ``scipy.stats.quantile_test`` has the same ends,
    and takes a second to import.
    """
    import numpy as np
    from scipy.special import bdtr

    low = int(np.searchsorted(bdtr(np.arange(count), count, 0.5), (1 - confidence) / 2)) - 1
    return (low, count - 1 - low) if low >= 0 else None


def hull(intervals: Sequence[Interval | None]) -> Interval | None:
    """Return the narrowest interval that holds them all; None where one of them is not known.

    Over fresh processes of the same work, it shows how far they differ, which one process cannot. Two or three
    processes are too few for an interval from their own medians.
    """
    present = [interval for interval in intervals if interval is not None]
    if not present or len(present) < len(intervals):
        return None
    return Interval(min(interval.low for interval in present), max(interval.high for interval in present))


def exceeds(value: float, limit: float) -> bool:
    """Whether a value is beyond a limit by more than the rounding of a difference: 0.75 - 0.70 is 0.05."""
    return value > limit and not math.isclose(value, limit, rel_tol=1e-9, abs_tol=1e-12)
