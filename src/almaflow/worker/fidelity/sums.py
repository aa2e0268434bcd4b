"""Sums what a comparison needs of an output and eager's: of the whole, each row, each channel and the last dimension.

An output may have hundreds of megabytes, so it is read piece by piece in float32; the sums of the pieces are added in
float64. Everything is derived from r (eager's) and d = r - o (the difference), since d keeps its digits where r and o
agree in nearly all of theirs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from almaflow.worker.fidelity.places import Pair

PIECE = 1 << 18
"""Elements that are looked at together: a few of these stay in the cache."""
PLAIN = 1e6
"""Figures up to this and down to its inverse are squared as they are; others are scaled first."""
FARTHEST = 1e15
"""Larger differences, as a share of eager's largest figure, count as this: its square is still within float32."""


@dataclass
class Moments:
    """Of each part: how many elements, and the sums of r, r^2, d, d^2 and r d over them."""

    count: Tensor
    r: Tensor
    rr: Tensor
    d: Tensor
    dd: Tensor
    rd: Tensor

    @classmethod
    def zeros(cls, parts: int) -> Moments:
        """Return the sums of nothing."""
        return cls(*(torch.zeros(parts, dtype=torch.float64) for _ in range(6)))

    def add(self, place: slice, sums: Sequence[Tensor]) -> None:
        """Add the sums of a piece, in the order of the fields."""
        for own, more in zip((self.count, self.r, self.rr, self.d, self.dd, self.rd), sums, strict=True):
            own[place] += more


@dataclass
class Sums:
    """The sums of one output over all calls, in units of ``scale``."""

    scale: float
    largest_difference: float = 0.0
    rows: list[Moments] = field(default_factory=list)
    """Of each call. A tensor without dimensions is one row."""
    channels: dict[int, Moments] = field(default_factory=dict)
    """By the size of dimension 1, where there is one: calls may differ in it."""
    last: dict[int, Moments] = field(default_factory=dict)
    """By the size of the last dimension, where it is not dimension 1."""
    cells: list[Tensor] = field(default_factory=list)
    """Of each call, the sum of d^2 by row and channel."""
    varying: list[Moments | None] = field(default_factory=list)
    """Of each call, r and d less their mean over all rows of that shape; None where no other row has that shape."""


def sums_of(pairs: Sequence[Pair]) -> Sums:
    """Sum over all calls of an output."""
    found = Sums(_scale(pairs))
    means: dict[torch.Size, tuple[int, Tensor, Tensor]] = {}
    for each in pairs:
        shape = each.ref.shape[1:]
        seen, mean_r, mean_d = means.get(shape) or (0, *torch.zeros(2, _four(each.ref).shape[1:].numel()))
        rows, channels, _, lasts = _four(each.ref).shape
        moments, cells = Moments.zeros(rows), torch.zeros(rows, channels, dtype=torch.float64)
        by_channel = found.channels.setdefault(channels, Moments.zeros(channels))
        by_last = found.last.setdefault(lasts, Moments.zeros(lasts)) if each.ref.dim() > 2 else None  # noqa: PLR2004
        for row, channel, r, d, counts in _pieces(each, found.scale):
            _add(moments, by_channel, by_last, cells, row, channel, r, d, counts)
            found.largest_difference = max(found.largest_difference, d.abs().max().item())
            place = slice(channel.start * r[0, 0].numel(), channel.stop * r[0, 0].numel())
            mean_r[place] += r.sum(0).flatten()
            mean_d[place] += d.sum(0).flatten()
        found.rows.append(moments)
        found.cells.append(cells)
        means[shape] = (seen + rows, mean_r, mean_d)
    for each in pairs:
        seen, mean_r, mean_d = means[each.ref.shape[1:]]
        found.varying.append(_varying(each, found.scale, mean_r / seen, mean_d / seen) if seen > 1 else None)
    return found


def _four(tensor: Tensor) -> Tensor:
    """Return rows by channels by everything between by the last dimension."""
    if tensor.dim() < 2:  # noqa: PLR2004 - a figure a row
        return tensor.reshape(-1, 1, 1, 1)
    if tensor.dim() == 2:  # noqa: PLR2004
        return tensor.reshape(*tensor.shape, 1, 1)
    rows, channels, *between, last = tensor.shape
    return tensor.reshape(rows, channels, math.prod(between), last)


def _scale(pairs: Sequence[Pair]) -> float:
    largest = 0.0
    for each in pairs:
        ref = each.ref if each.judged is None else each.ref[each.judged]
        if ref.numel():
            low, high = torch.aminmax(ref.float() if ref.dtype is torch.bool else ref)
            largest = max(largest, abs(low.item()), abs(high.item()))
    return 1.0 if largest == 0 or 1 / PLAIN < largest < PLAIN else largest


def _pieces(each: Pair, scale: float) -> Iterator[tuple[slice, slice, Tensor, Tensor, Tensor | None]]:
    """Yield pieces of r and d with their rows and channels, and where they count; they are zero elsewhere."""
    ref, out = _four(each.ref), _four(each.out)
    judged = None if each.judged is None else _four(each.judged)
    rows, channels = ref.shape[:2]
    inner = max(1, ref.shape[2:].numel())
    few_rows = max(1, PIECE // max(1, channels * inner))
    few_channels = max(1, channels if few_rows > 1 else PIECE // inner)
    dtype = torch.float64 if ref.dtype in (torch.float64, torch.int64) else torch.float32
    for row in range(0, rows, few_rows):
        for channel in range(0, channels, few_channels):
            place = (slice(row, min(rows, row + few_rows)), slice(channel, min(channels, channel + few_channels)))
            r, o = ref[place].to(dtype), out[place].to(dtype)
            if not r.numel():
                continue
            counts = None if judged is None else judged[place]
            if counts is not None:
                r, o = r.where(counts, 0), o.where(counts, 0)
            if scale != 1:
                r, o = r / scale, o / scale
            yield *place, r, (r - o).clamp_(-FARTHEST, FARTHEST), counts


def _add(  # noqa: PLR0913, PLR0917 - what is added, and to what
    rows: Moments,
    channels: Moments,
    lasts: Moments | None,
    cells: Tensor,
    row: slice,
    channel: slice,
    r: Tensor,
    d: Tensor,
    counts: Tensor | None,
) -> None:
    size = r.shape[2:].numel()
    figures = (torch.ones(()).expand(r.shape) if counts is None else counts, r, r * r, d, d * d, r * d)
    inner = [_inner(figure, size) for figure in figures]
    rows.add(row, [each.sum(1) for each in inner])
    channels.add(channel, [each.sum(0) for each in inner])
    cells[row, channel] += inner[4]
    if lasts is not None:
        lasts.add(slice(None), [_outer(figure) for figure in figures])


def _inner(figure: Tensor, size: int) -> Tensor:
    """Sum over all but rows and channels. By a matrix product: sums over short dimensions are slow."""
    if figure.stride() == (0, 0, 0, 0):
        return torch.full(figure.shape[:2], float(size), dtype=torch.float64)
    figure = figure.to(torch.float32) if figure.dtype is torch.bool else figure
    flat = figure.reshape(-1, size)
    return (flat[:, 0] if size == 1 else flat @ flat.new_ones(size)).reshape(figure.shape[:2]).double()


def _outer(figure: Tensor) -> Tensor:
    """Sum over all but the last dimension."""
    lasts = figure.shape[-1]
    if figure.stride() == (0, 0, 0, 0):
        return torch.full((lasts,), figure.numel() / lasts, dtype=torch.float64)
    figure = figure.to(torch.float32) if figure.dtype is torch.bool else figure
    flat = figure.reshape(-1, lasts)
    return (flat.new_ones(len(flat)) @ flat).double()


def _varying(each: Pair, scale: float, mean_r: Tensor, mean_d: Tensor) -> Moments:
    found = Moments.zeros(len(_four(each.ref)))
    for row, channel, r, d, counts in _pieces(each, scale):
        place = slice(channel.start * r[0, 0].numel(), channel.stop * r[0, 0].numel())
        r, d = r.flatten(1) - mean_r[place], d.flatten(1) - mean_d[place]  # noqa: PLW2901
        if counts is not None:
            r, d = r.where(counts.flatten(1), 0), d.where(counts.flatten(1), 0)  # noqa: PLW2901
        sums = (r.sum(1), (r * r).sum(1), d.sum(1), (d * d).sum(1), (r * d).sum(1))
        size = torch.full((len(r),), float(r.shape[1])) if counts is None else counts.flatten(1).sum(1)
        found.add(row, [size, *sums])
    return found
