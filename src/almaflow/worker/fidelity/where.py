"""Says where a difference lies, where it lies in few rows or places: padding and masked rows look like that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from almaflow.worker.fidelity.sums import Sums

NEARLY_ALL = 0.99
FEW = 3
"""One row, or place, in so many is few."""


def concentrated(sums: Sums) -> str | None:
    """Name how few rows, else places of rows by dimension 1, hold (nearly) all of the difference; None: it is spread.

    Example:
        ``all of it in 2 of 12 rows``
    """
    rows = torch.cat([each.dd for each in sums.rows])
    found = _in_few(rows, "rows")
    if found is None and all(cells.shape[1] > 1 for cells in sums.cells):
        found = _in_few(torch.cat([cells.flatten() for cells in sums.cells]), "places (row by dimension 1)")
    return found


def _in_few(noise: Tensor, name: str) -> str | None:
    total = noise.sum()
    if len(noise) < FEW or total == 0:
        return None
    different = int((noise > 0).sum())
    if different * FEW <= len(noise):
        return f"all of it in {different} of {len(noise)} {name}"
    ordered = noise.sort(descending=True).values.cumsum(0)
    few = int((ordered < NEARLY_ALL * total).sum()) + 1
    return f"{NEARLY_ALL:.0%} of it in {few} of {len(noise)} {name}" if few * FEW <= len(noise) else None


def counted(parts: Sequence[str | None]) -> str:
    """Join what is there."""
    return "; ".join(part for part in parts if part)
