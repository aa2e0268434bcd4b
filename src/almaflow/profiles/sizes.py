"""Sizes of one family of segments: which are measured, and what the others take by interpolation."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from almaflow.profiles.workload import Piece

MOST = 5
"""Sizes of a family that are measured to interpolate between."""


def grid(family: Sequence[Piece]) -> tuple[list[Piece], Piece | None]:
    """Return the sizes to measure, and the one that checks the interpolation; all and None where they are few.

    They are the smallest, the largest, and those that lie at the quartiles of the calls. The check is the one that is
    furthest from all of these.
    """
    ordered = sorted(family, key=lambda each: (each.size, each.segment_id))
    if len(ordered) <= MOST:
        return ordered, None
    chosen = {0, len(ordered) - 1}
    total, passed = sum(each.calls for each in ordered), 0
    for index, each in enumerate(ordered):
        before, passed = passed / total, passed + each.calls
        if any(before < share <= passed / total for share in (0.25, 0.5, 0.75)):
            chosen.add(index)
    while len(chosen) < MOST:  # many calls of one size: the middle of the widest gap
        low, high = max(pairwise(sorted(chosen)), key=lambda pair: pair[1] - pair[0])
        chosen.add((low + high) // 2)
    rest = [each for index, each in enumerate(ordered) if index not in chosen]
    measured = [ordered[index] for index in sorted(chosen)]
    return measured, max(rest, key=lambda each: min(_apart(each, other) for other in measured))


def interpolate(points: Iterable[tuple[float, float]], size: float) -> float:
    """Return the time at a size between measured ones: a straight line between logarithms, so that it is monotone.

    Args:
        points: Sizes and times, both above zero; equal sizes count by the mean of their times.
        size: Any size; outside of the points the time is that of the nearest one.
    """
    import numpy as np

    times = defaultdict(list)
    for at, time in points:
        times[math.log(at)].append(math.log(time))
    places = sorted(times)
    return math.exp(float(np.interp(math.log(size), places, [fmean(times[at]) for at in places])))


def _apart(one: Piece, other: Piece) -> float:
    return abs(math.log(one.size / other.size))
