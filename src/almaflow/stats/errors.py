"""Errors of predictions as a whole: how large they are, how sure that is, and whether they grow."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from math import sqrt
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING

from almaflow.stats.intervals import CONFIDENCE, Interval, median_interval

if TYPE_CHECKING:
    from collections.abc import Sequence


NEAR_PCT = 10.0
"""Largest error that counts as near: the field's usual measure of a latency predictor."""
FEWEST_FOR_TREND = 6
MOST_FOR_TREND = 400
"""The trend is that of so many newest points: the slope looks at all pairs."""


@dataclass(frozen=True)
class Figure:
    """A figure with its 95% interval; None where there are too few values for one."""

    value: float
    interval: Interval | None = None


@dataclass(frozen=True)
class ErrorSummary:
    """Errors in percent; shares from 0 to 1."""

    count: int
    signed: Figure
    mean_abs: Figure
    median_abs: Figure
    within: Figure
    """Share of the errors within ``NEAR_PCT``."""


def error_summary(errors_pct: Sequence[float]) -> ErrorSummary:
    """Summarise signed errors in percent, at least one, that are taken for independent.

    Intervals: of means by Student's t, of the median by the binomial distribution, of the share by E. B. Wilson's
    score ("Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927).
    """
    sizes = [abs(each) for each in errors_pct]
    near = sum(each <= NEAR_PCT for each in sizes)
    return ErrorSummary(
        len(sizes),
        mean_figure(errors_pct),
        mean_figure(sizes, least=0.0),
        Figure(median(sizes), median_interval(sizes)),
        Figure(near / len(sizes), _share_interval(near, len(sizes))),
    )


def summary_over(parts: Sequence[ErrorSummary]) -> ErrorSummary:
    """Summarise several series, each of which counts once however long it is.

    The points of one series are alike, so that the intervals come from the differences between series.
    """
    middles = [each.median_abs.value for each in parts]
    return ErrorSummary(
        sum(each.count for each in parts),
        mean_figure([each.signed.value for each in parts]),
        mean_figure([each.mean_abs.value for each in parts], least=0.0),
        Figure(median(middles), median_interval(middles)),
        mean_figure([each.within.value for each in parts], least=0.0, most=1.0),
    )


def mean_figure(values: Sequence[float], least: float | None = None, most: float | None = None) -> Figure:
    """Return the mean with Student's interval, whose ends are cut at ``least`` and ``most``."""
    from scipy.special import stdtrit

    middle, count = fmean(values), len(values)
    if count < 2:  # noqa: PLR2004 - one value has no spread
        return Figure(middle)
    half = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * stdev(values) / sqrt(count)
    low, high = middle - half, middle + half
    return Figure(
        middle, Interval(low if least is None else max(low, least), high if most is None else min(high, most))
    )


def _share_interval(near: int, count: int) -> Interval:
    """Return Wilson's interval of a share; ``scipy.stats.binomtest`` has the same, and takes a second to import."""
    from scipy.special import ndtri

    share, z = near / count, float(ndtri((1 + CONFIDENCE) / 2))
    twice = 2 * (count + z**2)
    middle = (2 * count * share + z**2) / twice
    half = z / twice * sqrt(4 * count * share * (1 - share) + z**2)
    return Interval(middle - half if near else 0.0, middle + half if near < count else 1.0)


def trend(values: Sequence[float], at: Sequence[float]) -> Figure | None:
    """Return how much a figure grows in one unit of ``at``: the median slope of all pairs, with its 95% interval.

    P. K. Sen, "Estimates of the Regression Coefficient Based on Kendall's Tau", JASA 63 (1968). None below six points,
    or where all were taken at once. ``scipy.stats.theilslopes`` gives the same, and takes a second to import.
    """
    import numpy as np
    from scipy.special import ndtri

    values, at = values[-MOST_FOR_TREND:], at[-MOST_FOR_TREND:]
    if len(values) < FEWEST_FOR_TREND or len(set(at)) < 2:  # noqa: PLR2004 - one moment has no slope
        return None
    rises, times = (np.subtract.outer(each, each) for each in (np.asarray(values, float), np.asarray(at, float)))
    slopes = np.sort(rises[times > 0] / times[times > 0])
    # Sen's equation 2.6: each group of equal values or times takes its own part from the variance.
    groups = chain(Counter(values).values(), Counter(at).values())
    variance = (_orders(len(values)) - sum(map(_orders, groups))) / 18
    half = float(ndtri((1 + CONFIDENCE) / 2)) * sqrt(max(variance, 0.0))
    low = max(round((len(slopes) - half) / 2) - 1, 0)
    high = min(round((len(slopes) + half) / 2), len(slopes) - 1)
    return Figure(float(np.median(slopes)), Interval(float(slopes[low]), float(slopes[high])))


def _orders(count: int) -> int:
    """Return 18 times the variance of Kendall's S over all orders of so many values."""
    return count * (count - 1) * (2 * count + 5)


@dataclass(frozen=True)
class Paired:
    """Two predictors on the same measurements."""

    pairs: int
    """Series in which both were judged."""
    first: float
    second: float
    """Mean absolute errors in percent, each series counting once."""
    difference: Figure
    """The first's error minus the second's, in percentage points."""
    p_value: float | None
    """p-value of the signed-rank test that neither is nearer; None below six pairs, which cannot reach 5%."""


def paired(first_pct: Sequence[float], second_pct: Sequence[float]) -> Paired:
    """Compare mean absolute errors, one pair for each series.

    F. Wilcoxon, "Individual Comparisons by Ranking Methods", Biometrics Bulletin 1 (1945).
    """
    from scipy.stats import wilcoxon

    differences = [one - other for one, other in zip(first_pct, second_pct, strict=True)]
    p_value = None
    if len(differences) >= FEWEST_FOR_TREND:
        p_value = float(wilcoxon(differences).pvalue) if any(differences) else 1.0
    return Paired(len(differences), fmean(first_pct), fmean(second_pct), mean_figure(differences), p_value)


def error_pct(predicted: float, measured: float) -> float:
    """Return the signed error in percent: ``100 (predicted - measured) / measured``, positive when predicted too slow.

    Raises:
        ValueError: the measured value is not a positive number, so that no share of it can be given.
    """
    if not (measured > 0 and math.isfinite(measured)):
        message = f"the measured value must be a positive number to give an error in percent, not {measured}"
        raise ValueError(message)
    return 100 * (predicted - measured) / measured
