"""Sizes of one family of segments: which are measured, and what the others take by interpolation."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from almaflow.profiles.workload import Piece

MOST = 5
"""Sizes of a family that are measured to interpolate between, where it takes most of the time."""

FEWER = ((0.4, MOST), (0.02, 3), (0.0, 2))
"""Least share of the graphs' eager time, and how many sizes of such a family are measured: where it hardly counts, an
error of the interpolation hardly does."""

QUARTILES = {MOST: (0.25, 0.5, 0.75), 3: (0.5,), 2: ()}
"""Shares of the calls at which the sizes between the ends lie, by how many are measured."""


@dataclass(frozen=True)
class Grid:
    """The sizes of one family that are measured."""

    measured: list[Piece]
    """To interpolate between, the smallest first."""
    check: Piece | None = None
    """Measured to check the interpolation; None where nothing is interpolated, or the family hardly counts."""

    @property
    def pieces(self) -> list[Piece]:
        """All that are measured."""
        return self.measured + ([self.check] if self.check else [])


def grids(pieces: Iterable[Piece]) -> list[Grid]:
    """Return the sizes to measure of each family, by its share of the eager time of all these pieces."""
    families: dict[str, list[Piece]] = defaultdict(list)
    for each in pieces:
        families[each.family].append(each)
    weights = [sum(each.weight_ms for each in family) for family in families.values()]
    total = sum(weights)
    return [
        grid(family, most=most_of(weight / total if total else 1.0))
        for family, weight in zip(families.values(), weights, strict=True)
    ]


def most_of(share: float) -> int:
    """Return how many sizes of a family with this share of the eager time are measured."""
    return next(count for least, count in FEWER if share >= least)


def grid(family: Sequence[Piece], most: int = MOST) -> Grid:
    """Return the sizes to measure; all where they are few.

    They are the smallest, the largest, and those that lie at the quartiles of the calls, or at their median. The check
    is the one that is furthest from all of these.

    Args:
        family: Its sizes.
        most: 2, 3 or 5 of them; of 2 there is no check.
    """
    ordered = sorted(family, key=lambda each: (each.size, each.segment_id))
    if len(ordered) <= most:
        return Grid(ordered)
    chosen = {0, len(ordered) - 1}
    total, passed = sum(each.calls for each in ordered), 0
    for index, each in enumerate(ordered):
        before, passed = passed / total, passed + each.calls
        if any(before < share <= passed / total for share in QUARTILES[most]):
            chosen.add(index)
    while len(chosen) < most:  # many calls of one size: the middle of the widest gap
        low, high = max(pairwise(sorted(chosen)), key=lambda pair: pair[1] - pair[0])
        chosen.add((low + high) // 2)
    rest = [each for index, each in enumerate(ordered) if index not in chosen]
    measured = [ordered[index] for index in sorted(chosen)]
    if most == FEWER[-1][1]:
        return Grid(measured)
    return Grid(measured, max(rest, key=lambda each: min(_apart(each, other) for other in measured)))


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
