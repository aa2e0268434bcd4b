"""Judges the parts of an output: rows, channels (dimension 1) and the last dimension.

A part has to carry its own signal, however small it is beside the rest. Two things show that it does not:

- its noise is above what the type allows *and* stands out from the noise of the other parts;
- its variation does not correlate with eager's, although the noise of the other parts would let it.

The comparison with the other parts is what excuses a weak part: where a narrow type has one scale for a whole tensor,
each part has the same noise, and a part with little or no signal of its own (a channel that a relu keeps at zero)
drowns in it. It does not excuse a part in another unit: scores of 0..1 beside boxes in pixels are to be there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from almaflow.worker.fidelity.tolerances import IDENTICAL_DB

if TYPE_CHECKING:
    from torch import Tensor

    from almaflow.worker.fidelity.sums import Moments
    from almaflow.worker.fidelity.tolerances import Tolerance

LOWER_DB = 1.0
"""A part may be this much noisier than the whole may be, unless it is in another unit: that has noise of its own."""
STRONG = 0.1
"""Parts with this share of the mean power or more have signal enough to show the common noise."""
UNEVEN, BESIDE_CHANCE = 4.0, 1.5
"""How much stronger than the median the noise of a right part may be, and how much stronger than chance explains."""
CERTAIN = 3.0
"""Standard deviations that are left to chance."""
FEWEST, FEW = 48, 4
"""Values of a part from which on a correlation says something, and from which on being constant does."""
ROUNDING = 1e-6
"""Share of the variation that the sums leave of no variation at all."""
VARIES = 1e-4
"""Variation as a share of the squared mean from which on sums in float32 show whether an output is constant."""
OTHER_UNIT_GAP = 50.0
"""Least ratio of the powers of two neighbours, in the order of their powers, between parts of two units."""
OTHER_UNIT_BELOW = 1e-3
"""Most power of a part in another unit, as a share of the strongest's."""
OTHER_UNIT_SHARE = 8
"""One part in so many, or more, are in the other unit: fewer are rather parts that happen to be nearly off."""
PIXELS = 4.0
"""Least magnitude of the parts in the larger unit. Layers keep their figures about 1; pixels are far above that."""


@dataclass(frozen=True)
class Part:
    """The part of an output that is furthest from eager's."""

    index: int
    of: int
    decibels: float
    lost: bool
    """Whether it is too far."""


def judge(moments: Moments, tolerance: Tolerance, scale: float = 1.0, *, units: bool = False) -> Part | None:
    """Return the worst part, a lost one before one that is not; None where there is nothing to tell apart.

    Args:
        moments: The sums of r and d over each part.
        tolerance: What is asked of the arithmetic.
        scale: What the sums are in units of.
        units: Whether parts may be in different units, as channels may and rows may not.
    """
    count = moments.count.clamp(min=1)
    power, noise = moments.rr / count, moments.dd / count
    parts = len(count)
    if parts == 0 or not noise.any():
        return None
    common = _common(power, noise, moments.count > 0)
    other_unit = _in_other_unit(power * scale**2, count) if units else torch.zeros(parts, dtype=torch.bool)
    allowed = torch.where(other_unit, 0.0, common)
    rounding = tolerance.resolution**2 * power
    least_db = tolerance.least_db - torch.where(other_unit, 0.0, LOWER_DB)
    limit = power * 10 ** (-least_db / 10)
    noisy = (noise > limit) & (noise > _uneven(moments) * allowed) & (noise > rounding)
    variation = (moments.rr / count - (moments.r / count).square()).clamp(min=0)
    unrelated = _unrelated(moments, torch.maximum(2 * allowed, rounding)) & (noise > rounding)
    lost = (noisy | unrelated) & (moments.count > 0)
    signal = torch.where(unrelated & ~noisy, torch.minimum(power, variation), power)
    return _worst(signal, noise, lost, (power >= STRONG * power.mean()) & (count >= FEWEST))


def judge_varying(varying: Moments, tolerance: Tolerance, power: Tensor) -> Part | None:
    """Return the worst row by what differs between rows, as two rows that are swapped do.

    Args:
        varying: The sums of r and d, less their mean over the rows, over each row.
        tolerance: What is asked of the arithmetic.
        power: The mean power of each row.
    """
    count = varying.count.clamp(min=1)
    signal, noise = varying.rr / count, varying.dd / count
    if not noise.any():
        return None
    common = _common(signal, noise, varying.count > 0)
    rounding = tolerance.resolution**2 * power
    # Its mean over the row is taken as signal here: a row may be another one by a constant.
    lost = _unrelated(varying, torch.maximum(2 * common, rounding), about_mean=False)
    return _worst(signal, noise, lost & (noise > rounding), torch.zeros_like(lost))


def decibels(signal: float, noise: float) -> float:
    """Return ten times the logarithm of the ratio, within what stands for equal and for nothing in common."""
    if noise == 0:
        return IDENTICAL_DB
    if signal == 0:
        return -IDENTICAL_DB
    return max(-IDENTICAL_DB, min(IDENTICAL_DB, 10 * (math.log10(signal) - math.log10(noise))))


def _worst(signal: Tensor, noise: Tensor, lost: Tensor, telling: Tensor) -> Part | None:
    """Return the lost part with the least ratio, else one of those whose ratio tells something."""
    judged = lost if lost.any() else telling & (noise > 0)
    if not judged.any():
        return None
    ratio = torch.where(judged, signal.clamp(min=1e-300) / noise.clamp(min=1e-300), torch.inf)
    index = int(ratio.argmin())
    return Part(index, len(signal), decibels(signal[index].item(), noise[index].item()), bool(lost[index]))


def _uneven(moments: Moments) -> Tensor:
    """How much stronger than the median the noise of right parts may look: the largest of as many, in so few values.

    The upper bound of a chi-squared variable by Laurent and Massart (2000), lemma 1, over its median. Rows that are
    nearly the same have nearly the same noise, so that they count as one.
    """
    count = moments.count.clamp(min=1)
    variation = (moments.rr - moments.r.square() / count).clamp(min=0).sum()
    free = 1 + (count - 1) * (2 * variation / moments.rr.sum().clamp(min=1e-300)).clamp(max=1)
    exponent = math.log(len(count)) + CERTAIN
    largest = 1 + 2 * (exponent / free).sqrt() + 2 * exponent / free
    return (BESIDE_CHANCE * largest / (1 - 2 / (9 * free)) ** 3).clamp(min=UNEVEN)


def _common(power: Tensor, noise: Tensor, there: Tensor) -> Tensor:
    """Return for each part the median noise of the other parts that have a signal."""
    strong = there & (power >= STRONG * power[there].mean()) if there.any() else there
    ordered, order = noise[strong].sort()
    size = len(ordered)
    if size == 0:
        return torch.zeros_like(noise)
    common = torch.full_like(noise, ordered[(size - 1) // 2].item())
    if size == 1:
        common[strong] = 0.0
        return common
    middle = (size - 2) // 2
    own = torch.empty_like(ordered)
    place = torch.arange(size)
    own[order] = torch.where(place <= middle, ordered[middle + 1], ordered[middle])
    common[strong] = own
    return common


def _unrelated(moments: Moments, noise: Tensor, *, about_mean: bool = True) -> Tensor:
    """Whether a part correlates with eager's by less than half of what this noise would leave."""
    count = moments.count.clamp(min=1)
    r, d = (moments.r / count, moments.d / count) if about_mean else (torch.zeros_like(count), torch.zeros_like(count))
    variation = (moments.rr / count - r * r).clamp(min=0)
    of_d = (moments.dd / count - d * d).clamp(min=0)
    both = moments.rd / count - r * d
    of_out = (variation - 2 * both + of_d).clamp(min=0)
    # What rounding leaves of a constant is no variation, nor what it leaves of figures that hardly vary.
    of_out = of_out.where(of_out > ROUNDING * variation, 0.0)
    product = (variation * of_out).sqrt()
    correlation = torch.where(product > 0, (variation - both) / product.clamp(min=1e-300), 0.0)
    expected = (variation / (variation + noise).clamp(min=1e-300)).sqrt()
    varies = variation > 1e-12 * moments.rr / count
    apart = (count >= FEWEST) & (correlation + CERTAIN / count.sqrt() < expected / 2)
    constant = (count >= FEW) & (of_out == 0) & (variation > noise) & (r * r < variation / VARIES)
    return varies & (apart | constant)


def _in_other_unit(power: Tensor, count: Tensor) -> Tensor:
    """Which parts are far below the others together, with nothing between, where the others are in pixels."""
    none = torch.zeros(len(power), dtype=torch.bool)
    ordered = power.sort().values
    if len(power) < 2 or ordered[-1] == 0 or (count < FEWEST).any():  # noqa: PLR2004 - one part beside none
        return none
    ratio = ordered[1:] / ordered[:-1].clamp(min=1e-30)
    below = ordered[:-1] <= OTHER_UNIT_BELOW * ordered[-1]
    gaps = (ratio >= OTHER_UNIT_GAP) & below & (ordered[1:] >= PIXELS**2) & (ordered[:-1] > 0)
    if not gaps.any():
        return none
    border = ordered[int(gaps.nonzero()[-1])]
    small = (power <= border) & (power > 0)
    return small if small.sum() * OTHER_UNIT_SHARE >= len(power) else none
