"""Puts rows into eager's order where their order is by score: detections, the largest k, what is kept after NMS.

Two scores that are nearly equal change places by a rounding, and with them whole rows. The rows of a batch are no such
set: rows count as one only where their number depends on the data, or where eager has them sorted in every call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from almaflow.worker.fidelity.order import left_in_place, sorted_columns, turned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from almaflow.worker.fidelity.tolerances import Tolerance

MOST_ROWS = 4096
"""Beyond this the table of distances, rows by rows, is too large."""
Call = list["Tensor"]


@dataclass(frozen=True)
class Aligned:
    """Both sides with the rows of their sets in eager's order; rows without a partner are left out."""

    references: list[Call]
    outputs: list[Call]
    note: str


def aligned(
    references: Sequence[Sequence[Tensor]],
    outputs: Sequence[Sequence[Tensor]],
    tolerance: Tolerance,
    batch_sizes: Sequence[int] | None = None,
) -> Aligned | None:
    """Return both with the rows of each set in eager's order, or None where there is no set or nothing to move.

    Args:
        references: Eager's outputs of each call.
        outputs: The conversion's.
        tolerance: What is asked of the arithmetic; it decides how many rows may be without a partner.
        batch_sizes: Of each call. An output of as many rows is one of samples, whose order matters; None: not known.
    """
    refs, outs = [list(call) for call in references], [list(call) for call in outputs]
    if any(len(r) != len(o) or not o for r, o in zip(refs, outs, strict=True)) or len({len(r) for r in refs}) > 1:
        return None
    moved = left = 0
    for members in _groups(refs):
        dim = _set_dimension(refs, members, batch_sizes)
        if dim is None:
            continue
        if any(turned(refs, outs, member, dim) for member in members):
            return None
        for r, o in zip(refs, outs, strict=True):
            found = _align(r, o, members, dim, tolerance)
            if found is None:
                return None
            moved, left = moved + found[0], left + found[1]
    if (not moved and not left) or left_in_place(references, outputs, refs, outs):
        return None
    apart = f", {left} without a partner" if left else ""
    return Aligned(refs, outs, f"compared as sets of rows: {moved} rows are in another order than eager's{apart}")


def _groups(refs: Sequence[Call]) -> list[list[int]]:
    """Group outputs that belong together row by row: boxes, labels and scores have the same leading sizes."""
    groups: list[list[int]] = []
    for i in range(len(refs[0])):
        beside = (group for group in groups if all(_leading(call[group[0]]) == _leading(call[i]) for call in refs))
        group = next(beside, None)
        if group is None:
            groups.append([i])
        else:
            group.append(i)
    return groups


def _leading(tensor: Tensor) -> int | None:
    return len(tensor) if tensor.dim() else None


def _set_dimension(refs: Sequence[Call], members: Sequence[int], batch_sizes: Sequence[int] | None) -> int | None:
    """Return the dimension whose rows are a set, 0 or 1; None: their order means something."""
    first = members[0]
    if any(not call[first].dim() for call in refs):
        return None  # a number has no rows
    of_the_batch = batch_sizes is not None and [len(call[first]) for call in refs] == list(batch_sizes)
    if not of_the_batch:
        if batch_sizes is not None and len({len(call[first]) for call in refs}) > 1:
            return 0  # as many as the data give
        if any(sorted_columns(refs, member, 0) is not None for member in members):
            return 0
    return 1 if any(sorted_columns(refs, member, 1) is not None for member in members) else None


def _align(refs: Call, outs: Call, members: Sequence[int], dim: int, tolerance: Tolerance) -> tuple[int, int] | None:
    """Reorder the members of one call in place; return how many rows moved and how many have no partner."""
    if dim == 0:
        order = _order([refs[m] for m in members], [outs[m] for m in members], tolerance)
        if order is None:
            return None
        for m in members:
            refs[m], outs[m] = refs[m][order.kept], outs[m][order.places]
        return order.moved, order.left
    members = [m for m in members if refs[m].dim() > 1 and refs[m].shape[1] == _rows_in(refs, members)]
    if any(refs[m].shape != outs[m].shape for m in members):
        return None
    moved = 0
    made = {m: outs[m].clone() for m in members}
    for sample in range(len(refs[members[0]])):
        order = _order([refs[m][sample] for m in members], [outs[m][sample] for m in members], tolerance)
        if order is None or order.left:
            return None
        for m in members:
            made[m][sample] = outs[m][sample][order.places]
        moved += order.moved
    for m in members:
        outs[m] = made[m]
    return moved, 0


def _rows_in(refs: Call, members: Sequence[int]) -> int:
    return max(refs[m].shape[1] for m in members if refs[m].dim() > 1)


@dataclass(frozen=True)
class _Order:
    kept: Tensor
    """Rows of eager's that have a partner."""
    places: Tensor
    """Its place in the conversion's rows."""
    moved: int
    left: int
    """Rows of either side without a partner."""


def _order(refs: Sequence[Tensor], outs: Sequence[Tensor], tolerance: Tolerance) -> _Order | None:
    """Find for each row of eager's the nearest of the conversion's that is not taken."""
    here, there = len(outs[0]), len(refs[0])
    if max(here, there) > MOST_ROWS or any(
        r.shape[1:] != o.shape[1:] or len(o) != here for r, o in zip(refs, outs, strict=True)
    ):
        return None
    if not here or not there:
        return None if here != there else _Order(torch.arange(0), torch.arange(0), 0, 0)
    distance = torch.zeros(there, here, dtype=torch.float64)
    for r, o in zip(refs, outs, strict=True):
        flat_r, flat_o = r.reshape(there, -1).double(), o.reshape(here, -1).double()
        spread = flat_r.abs().amax(0).clamp(min=1e-12)
        flat_r, flat_o = (torch.nan_to_num(flat / spread, 0.0, 0.0, 0.0) for flat in (flat_r, flat_o))
        exact = not r.is_floating_point()
        each = torch.cdist(flat_r, flat_o, p=0.0 if exact else 1.0)
        distance += each / flat_r.shape[1]
    kept, places = [], []
    free = torch.zeros(here, dtype=torch.float64)
    for row in range(min(there, here)):
        best = int((distance[row] + free).argmin())
        kept.append(row)
        places.append(best)
        free[best] = torch.inf
    left = there - len(kept) + here - len(places)
    if left > (1 - tolerance.least_equal) * max(here, there):
        return None
    at = torch.tensor(places)
    moved = int((at != torch.arange(len(at))).sum()) if here == there else 0
    return _Order(torch.tensor(kept), at, moved, left)
