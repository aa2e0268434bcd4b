"""Chooses which segments of a session are measured, and in which order."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from almaflow.profiles.sizes import FEWER, grids

if TYPE_CHECKING:
    from collections.abc import Iterable

    from almaflow.profiles.workload import Piece

SMALL_SHARE = 0.01
"""Share of all eager time that may be left out together, because each part is small."""


@dataclass(frozen=True)
class Choice:
    """What is measured of a session."""

    order: tuple[Piece, ...]
    """The most eager time first."""
    left_out: dict[str, str]
    """Why segments count as eager, by their IDs."""
    checks: frozenset[str]
    """Segments that are measured to check an interpolation."""


def choose(segments: Iterable[Piece], min_segment_us: float) -> Choice:
    """Choose what is measured: of each family some sizes, without those that hardly take time.

    Args:
        segments: Those that were recorded.
        min_segment_us: Segments whose eager call takes less, in microseconds, are left out, and then families of many
            sizes, while all of them together take no more than a hundredth of the eager time.
    """
    every = sorted(segments, key=lambda each: each.weight_ms)
    allowed = SMALL_SHARE * sum(each.weight_ms for each in every)
    left_out: dict[str, str] = {}
    families: dict[str, list[Piece]] = defaultdict(list)
    for each in every:
        if each.unmeasurable:
            left_out[each.segment_id] = each.unmeasurable
        elif 1000 * each.eager_ms < min_segment_us and each.weight_ms <= allowed:
            allowed -= each.weight_ms
            left_out[each.segment_id] = f"below {min_segment_us:g} us, and 1% of the graphs' time with all such ones"
        else:
            families[each.family].append(each)
    kept: list[Piece] = []
    for family in sorted(families.values(), key=lambda family: sum(each.weight_ms for each in family)):
        weight = sum(each.weight_ms for each in family)
        if len(family) > FEWER[-1][1] and weight <= allowed:
            allowed -= weight
            left_out |= {each.segment_id: "all sizes of it are below 1% of the graphs' time" for each in family}
        else:
            kept += family
    chosen = grids(kept)
    order = sorted((each for one in chosen for each in one.pieces), key=lambda each: -each.weight_ms)
    return Choice(tuple(order), left_out, frozenset(each.check.segment_id for each in chosen if each.check))
