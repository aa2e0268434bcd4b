"""Drawing sizes for the small networks that calibration measures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from random import Random

Layers: TypeAlias = list[list[Any]]
"""As ``models.blocks.network`` takes them."""
Drawn: TypeAlias = tuple[Layers, list[int], float]
"""Layers, shape of the input without its batch, and 10^9 operations of one input."""
ACTIVATIONS = ("relu", "relu6", "silu", "hardswish", "gelu")
SIDES = (7, 14, 28, 56, 112)


def between(draw: Random, low: float, high: float, step: int = 8) -> int:
    """A multiple of ``step``, evenly drawn by its logarithm."""
    return max(step, round(math.exp(draw.uniform(math.log(low), math.log(high))) / step) * step)


def image(draw: Random, channels: int, smallest: int = 0) -> list[int]:
    """A square of one of ``SIDES``, from the one numbered ``smallest`` on."""
    side = draw.choice(SIDES[smallest:])
    return [channels, side, side]
