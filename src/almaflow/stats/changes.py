"""Steps in a series: changes of its level, found with a stated rate of false alarms.

Within an interval of the series, each place divides it in two, and Student's t compares the two means. The place where
t is largest is the likeliest one for a step, and its p-value is multiplied by the number of places that were looked at
(Bonferroni's bound for the largest of several statistics, which K. J. Worsley, "On the Likelihood Ratio Test for a
Shift in Location of Normal Populations", JASA 74 (1979), uses for the same maximum), so that a series of independent
normal figures without a step is given one with at most the stated probability. The bound errs on the side of silence.

One interval, the whole series, would miss a level that changes and changes back. So the intervals are those of seeded
binary segmentation (S. Kovacs, P. Buehlmann, H. Li, A. Munk, "Seeded binary segmentation: a general methodology for
fast and optimal changepoint detection", Biometrika 110, 2023): of many lengths, each half over the next. All of their
places are counted. The series is divided at the step with the smallest p-value, and each part is searched in turn.

A single figure far away is no step, nor are two: each is held to within ``FAR`` standard deviations of the median of
five around it. Neighbours that are alike (a machine that is slow for days) say less than independent ones: n of them
with a correlation r count for n (1 - r) / (1 + r) (``intervals`` has the source), and t is made smaller by the root of
that. r and the standard deviation come from differences, which a step leaves as they are: those of figures two apart
have (1 + r) times the variance of those of neighbours. Both need ``KNOWN_FROM`` figures; shorter series are taken as
they come.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

FALSE_ALARM_RATE = 0.001
"""Probability that a series without a step is given one, each time that it is looked at."""
SHORTEST = 3
"""Figures that a step needs on either side: one or two may be a disturbance."""
SHORTER = 0.5**0.5
"""Length of the intervals of a layer relative to the layer before: the authors' choice."""
FAR = 3.0
"""Standard deviations of the noise that a figure may lie from the median around it."""
KNOWN_FROM = 20
"""Figures from which on correlation and standard deviation are estimated."""
WINDOW = 5
MOST_ALIKE = 0.8
NORMAL_MAD = 0.6745
"""The median absolute deviation of a standard normal variable."""


@dataclass(frozen=True)
class Step:
    """One change of level."""

    at: int
    """Index of the first figure on the new level."""
    p_value: float
    """Probability of such a step by chance, adjusted for all the places that were looked at."""
    before: float
    after: float
    """``before`` is the mean from the previous step to this one, ``after`` from this one to the next."""


def steps(values: Sequence[float] | Vector, false_alarm_rate: float = FALSE_ALARM_RATE) -> list[Step]:
    """Find the steps of a series, in their order.

    Args:
        values: The figures in the order of time. Latencies, which change by shares, are better passed as logarithms.
        false_alarm_rate: Highest probability with which independent normal figures without a step are given one.
    """
    import numpy as np

    series = settled(values)
    if len(series) < 2 * SHORTEST:
        return []
    correlation = _correlation(series)
    shrinkage = ((1 - correlation) / (1 + correlation)) ** 0.5
    p_values: dict[int, float] = {}
    parts = [(0, len(series))]
    while parts:
        start, end = parts.pop()
        offset, p_value = _likeliest(series[start:end], shrinkage)
        if p_value <= false_alarm_rate:
            p_values[start + offset] = p_value
            parts += [(start, start + offset), (start + offset, end)]
    boundaries = sorted(p_values)
    means = [float(np.mean(part)) for part in np.split(series, boundaries)]
    return [
        Step(at, p_values[at], before, after) for at, before, after in zip(boundaries, means, means[1:], strict=False)
    ]


def settled(values: Sequence[float] | Vector) -> Vector:
    """Return the series with outliers brought nearer to the figures around them."""
    import numpy as np

    series = np.asarray(values, dtype=np.float64)
    if len(series) < KNOWN_FROM:
        return series
    around = np.lib.stride_tricks.sliding_window_view(np.pad(series, WINDOW // 2, mode="reflect"), WINDOW)
    medians = np.median(around, axis=1)
    far = FAR * _spread(np.diff(series)) / 2**0.5
    return np.clip(series, medians - far, medians + far)


def _correlation(series: Vector) -> float:
    """Correlation of neighbours, at least 0; the fewer the figures, the smaller it is taken."""
    import numpy as np

    if len(series) < KNOWN_FROM:
        return 0.0
    near = _spread(np.diff(series))
    apart = _spread(series[2:] - series[:-2])
    estimate = (apart / near) ** 2 - 1 if near else 0.0
    return min(max(estimate, 0.0), MOST_ALIKE) * (1 - KNOWN_FROM / len(series))


def _spread(differences: Vector) -> float:
    """Standard deviation of differences around zero, from their median size, which a few large ones leave as it is."""
    import numpy as np

    return float(np.median(np.abs(differences))) / NORMAL_MAD


def _likeliest(series: Vector, shrinkage: float) -> tuple[int, float]:
    """Find the likeliest place of a step, and its p-value times the number of all places; 1 where there is no place."""
    import numpy as np
    from scipy.special import stdtr

    centred = series - np.median(series) if len(series) else series  # sums of large squares would lose digits
    sums, squares = (np.concatenate([[0.0], np.cumsum(each)]) for each in (centred, centred**2))
    best, tests = (0, 1.0, 0.0), 0
    for start, end in _intervals(len(series)):
        size = end - start
        places = np.arange(start + SHORTEST, end - SHORTEST + 1)
        tests += len(places)
        left, right = places - start, end - places
        below, above = sums[places] - sums[start], sums[end] - sums[places]
        total = squares[end] - squares[start]
        rest = np.maximum(total - below**2 / left - above**2 / right, 1e-12 * max(total, 1e-300))
        t = shrinkage * np.abs(below / left - above / right) / np.sqrt(rest / (size - 2) * (1 / left + 1 / right))
        index = int(np.argmax(t))
        p_value = 2 * float(stdtr(size - 2, -t[index]))
        if (p_value, -t[index]) < best[1:]:
            best = int(places[index]), p_value, -float(t[index])
    return best[0], min(1.0, best[1] * max(tests, 1))


def _intervals(count: int) -> Iterator[tuple[int, int]]:
    """Yield the intervals of seeded binary segmentation: the whole, then ever shorter ones that overlap by half."""
    length, layer = float(count), 0
    while length >= 2 * SHORTEST:
        number = 2 * ceil(SHORTER**-layer - 1e-9) - 1
        shift = (count - length) / (number - 1) if number > 1 else 0.0
        yield from dict.fromkeys((int(each * shift), min(count, ceil(each * shift + length))) for each in range(number))
        layer += 1
        length = count * SHORTER**layer
