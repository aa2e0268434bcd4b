"""Tells by which columns eager sorts its rows, and whether a conversion moved whole rows and sorted them that way."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from almaflow.worker.fidelity.exact import is_exact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

CHANCE = 1e-4
"""Most probability that one of the columns is sorted in all calls by chance."""
CERTAIN = 3.0
"""Standard deviations that are left to chance."""
FEWEST_PAIRS, TURNED = 20, 0.25
"""Pairs of rows from which on their order says something, and the share that falls in a list that is turned round."""


def sorted_columns(refs: Sequence[Sequence[Tensor]], member: int, dim: int) -> Tensor | None:
    """Return by which columns the rows fall in each sample of each call, and not by chance; None: by none.

    Args:
        refs: Eager's outputs of each call.
        member: Which output.
        dim: The dimension of the rows; a dimension of columns may follow.
    """
    if not refs[0][member].is_floating_point() or not dim < refs[0][member].dim() <= dim + 2:
        return None
    log_chance, columns, varied = 0.0, None, False
    for call in refs:
        rows = _with_columns(call[member], dim)
        falls = (rows.diff(dim=dim) <= 0).flatten(0, dim).all(0)
        columns = falls if columns is None else columns & falls
        varied |= bool((rows.amax(dim) > rows.amin(dim)).any()) if rows.shape[dim] else False
        log_chance -= math.prod(rows.shape[:dim]) * math.lgamma(rows.shape[dim] + 1)
    if columns is None or not varied or not columns.any():
        return None
    return columns if log_chance + math.log(len(columns)) < math.log(CHANCE) else None


def turned(refs: Sequence[Sequence[Tensor]], outs: Sequence[Sequence[Tensor]], member: int, dim: int) -> bool:
    """Whether an output by which eager sorts rises in the conversion's: no close calls explain that."""
    columns = sorted_columns(refs, member, dim)
    if columns is None:
        return False
    fall = total = 0
    for call in outs:
        if call[member].dim() != refs[0][member].dim():
            return False
        rows = _with_columns(call[member], dim)
        if rows.shape[-1] != len(columns):
            return False
        rows = rows[..., columns].movedim(dim, 0)
        for apart in range(1, min(len(rows), FEWEST_PAIRS)):
            falls = rows[:-apart] >= rows[apart:]
            fall, total = fall + int(falls.sum()), total + falls.numel()
    return total >= FEWEST_PAIRS and fall < TURNED * total


def _with_columns(tensor: Tensor, dim: int) -> Tensor:
    return tensor if tensor.dim() == dim + 2 else tensor.unsqueeze(-1)


def left_in_place(
    references: Sequence[Sequence[Tensor]],
    outputs: Sequence[Sequence[Tensor]],
    refs: Sequence[Sequence[Tensor]],
    outs: Sequence[Sequence[Tensor]],
) -> bool:
    """Whether classes or masks fit eager's better before the rows were moved: then they had not moved with the others.

    By McNemar's test, which looks at the elements where the two orders differ.

    Args:
        references: Eager's outputs of each call.
        outputs: The conversion's.
        refs: Eager's, after rows were moved.
        outs: The conversion's, after rows were moved.
    """
    for i, first in enumerate(refs[0]):
        if not is_exact(first):
            continue
        better = worse = 0
        for ref, out, new_ref, new_out in zip(references, outputs, refs, outs, strict=True):
            if not ref[i].shape == out[i].shape == new_ref[i].shape:
                continue
            before, after = ref[i] == out[i], new_ref[i] == new_out[i]
            better, worse = better + int((after & ~before).sum()), worse + int((before & ~after).sum())
        if worse - better > CERTAIN * math.sqrt(worse + better):
            return True
    return False
