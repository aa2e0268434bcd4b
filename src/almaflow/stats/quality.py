"""What a figure of quality lost against a baseline on the same samples, with a 95% interval.

Scores of 0 and 1 make two paired proportions. Their difference has the score interval of T. Tango ("Equivalence test
and confidence interval for the difference in proportions for the paired-sample design", Statistics in Medicine 17,
1998): it holds the differences that McNemar's test, generalised to them, does not reject, and has a width also where no
sample changed. The mean difference of other scores has a percentile bootstrap over the samples, seeded.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from almaflow.stats.intervals import Interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Z = 1.959963984540054
"""The 97.5th percentile of the normal distribution."""
RESAMPLES = 2000
AT_ONCE = 4_000_000
"""Scores that are drawn at once, which limits the memory to some 64 MB."""
_SEED = 0


def paired_drop(baseline: ArrayLike, scores: ArrayLike) -> tuple[float, Interval]:
    """Return by how much the mean of the scores is below the baseline's, and the 95% interval of that.

    Args:
        baseline: One score for each sample.
        scores: Those of the same samples, in the same order.

    Raises:
        ValueError: there are none, or not as many as the baseline has.
    """
    before, after = np.asarray(baseline, dtype=float), np.asarray(scores, dtype=float)
    if before.shape != after.shape or before.ndim != 1 or not before.size:
        message = f"scores of {after.shape} cannot be paired with {before.shape}: one for each sample is needed"
        raise ValueError(message)
    drop = float(np.mean(before - after))
    if np.isin(before, (0, 1)).all() and np.isin(after, (0, 1)).all():
        lost, won = int(((before == 1) & (after == 0)).sum()), int(((before == 0) & (after == 1)).sum())
        return drop, proportions_interval(lost, won, before.size)
    return drop, _bootstrapped(before - after)


def proportions_interval(lost: int, won: int, count: int) -> Interval:
    """Return the score interval of (lost - won) / count for paired proportions.

    Args:
        lost: Samples that only the baseline got right.
        won: Samples that only the other one got right.
        count: All samples.
    """
    from scipy.optimize import brentq

    drop = (lost - won) / count

    def statistic(difference: float) -> float:
        """Return the standardised distance of what was counted from this difference."""
        b = (2 * count - lost + won) * difference - lost - won
        c = -won * difference * (1 - difference)
        only_won = (sqrt(max(0.0, b * b - 8 * count * c)) - b) / (4 * count)
        variance = count * (2 * only_won + difference * (1 - difference))
        distance = lost - won - count * difference
        if not distance:
            return 0.0
        return distance / sqrt(variance) if variance > 0 else float(np.copysign(np.inf, distance))

    def end(limit: float, side: float) -> float:
        """Find the difference between the estimate and a limit at which the statistic is 1.96 one way."""
        edge = limit * (1 - 1e-12)
        far = statistic(edge) - side * Z
        if limit == drop or far * side < 0:  # not rejected at the limit itself
            return limit
        return float(brentq(lambda each: min(max(statistic(each), -1e6), 1e6) - side * Z, drop, edge))

    return Interval(end(-1.0, 1.0), end(1.0, -1.0))


def _bootstrapped(differences: np.ndarray) -> Interval:
    from scipy.stats import bootstrap

    if np.ptp(differences) == 0:
        return Interval(float(differences[0]), float(differences[0]))
    found = bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, AT_ONCE // differences.size),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return Interval(float(found.low), float(found.high))
