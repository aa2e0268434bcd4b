"""Drawing sizes for the small networks that calibration measures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from random import Random

Layers: TypeAlias = list[list[Any]]
"""Layers as ``models.blocks.network`` takes them."""
Drawn: TypeAlias = tuple[Layers, list[int], float]
"""Layers, shape of the input without its batch dimension, and 10^9 operations for one input."""
ACTIVATIONS = ("relu", "relu6", "silu", "hardswish", "gelu")
SIDES = (7, 14, 28, 56, 112)


def between(draw: Random, low: float, high: float, step: int = 8) -> int:
    """Draw a multiple of ``step``, evenly by its logarithm."""
    return max(step, round(math.exp(draw.uniform(math.log(low), math.log(high))) / step) * step)


def image(draw: Random, channels: int, smallest: int = 0) -> list[int]:
    """Draw the shape of a square image with one of ``SIDES``, from index ``smallest`` on."""
    side = draw.choice(SIDES[smallest:])
    return [channels, side, side]
