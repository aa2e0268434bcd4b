"""The summary of one conversion's timings.

Every quantile here is numpy's default, ``method="linear"``: definition 7 of Hyndman and Fan, "Sample Quantiles in
Statistical Packages", The American Statistician 50 (1996). It lies between the two samples beside it, so that no
quantile is outside what was measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

FLOOR_QUANTILE = 0.05
FLOOR_SAMPLES = 20
"""Samples that the floor needs: of fewer, a twentieth is less than one sample."""

PERCENTILE_SAMPLES = {90: 64, 95: 130, 99: 662}
"""Samples that a percentile needs: the counts of MLPerf inference's early stopping.

Each is the smallest count for which, at 99% confidence, at least two samples lie above the true percentile:
``binom.cdf(1, count, 1 - p) <= 0.01``.
"""


@dataclass(frozen=True)
class Summary:
    """Statistics of timings in milliseconds. ``None`` where the samples do not support the figure."""

    count: int
    median: float
    q1: float
    q3: float
    iqr: float
    mean: float
    std: float | None
    """Sample standard deviation (divided by count - 1); None for one sample."""
    min: float
    max: float
    floor: float
    """The 5th percentile, which repeats from day to day on a shared machine where the median does not.

    With fewer than 20 samples it is the minimum.
    """
    cv: float | None
    """std / mean, without unit."""
    p90: float | None
    p95: float | None
    p99: float | None


def summary(samples_ms: Sequence[float]) -> Summary:
    """Summarise timings in milliseconds, in any order.

    Raises:
        ValueError: there is no sample, or one is negative, infinite or not a number.
    """
    # Commands that only list things import this module's neighbours, and must not wait for numpy.
    import numpy as np

    count = len(samples_ms)
    if not count:
        message = "no samples to summarise"
        raise ValueError(message)
    samples = np.sort(np.asarray(samples_ms, dtype=np.float64))
    if not np.isfinite(samples).all() or samples[0] < 0:
        message = "a timing is negative, infinite or not a number"
        raise ValueError(message)

    def quantile(share: float) -> float:
        return float(np.quantile(samples, share, method="linear"))

    def percentile(percent: int) -> float | None:
        return quantile(percent / 100) if count >= PERCENTILE_SAMPLES[percent] else None

    q1, median, q3 = quantile(0.25), quantile(0.5), quantile(0.75)
    mean = math.fsum(samples) / count
    std = float(np.std(samples, ddof=1)) if count > 1 else None
    return Summary(
        count=count,
        median=median,
        q1=q1,
        q3=q3,
        iqr=q3 - q1,
        mean=mean,
        std=std,
        min=float(samples[0]),
        max=float(samples[-1]),
        floor=floor_of(samples_ms),
        cv=std / mean if std is not None and mean > 0 else None,
        p90=percentile(90),
        p95=percentile(95),
        p99=percentile(99),
    )


def floor_of(samples_ms: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the 5th percentile of timings, at least one; the minimum of fewer than 20."""
    import numpy as np

    if len(samples_ms) < FLOOR_SAMPLES:
        return float(min(samples_ms))
    return float(np.quantile(samples_ms, FLOOR_QUANTILE, method="linear"))


def not_told_apart(one: Summary, other: Summary) -> bool:
    """Whether each median lies within the other's interquartile range, so that neither is called the faster one."""
    return one.q1 <= other.median <= one.q3 and other.q1 <= one.median <= other.q3
