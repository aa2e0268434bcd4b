"""From how many MB on the weights of a model are not in the caches when a call needs them again."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from almaflow.records.operators import cold_share

if TYPE_CHECKING:
    from collections.abc import Mapping

GRID = (0.5, 1, 2, 3, 4, 6, 8, 11, 16, 22, 32, 45, 64, 90)
"""Sizes in MB that are tried for both."""


def cache_of(shares: Mapping[float, float]) -> dict[str, float]:
    """Return the two sizes that agree best with measured shares of cold time.

    Args:
        shares: How far the time of an operator in a chain is from that with warm weights to that with cold ones, by the
            MB of weights of the whole chain.
    """

    def miss(sizes: dict[str, float]) -> float:
        return sum((cold_share(mb, sizes) - min(1.0, max(0.0, each))) ** 2 for mb, each in shares.items())

    return min(({"cache_mb": float(one), "spill_mb": float(other)} for one, other in product(GRID, GRID)), key=miss)
