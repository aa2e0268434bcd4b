"""Chains of layers as architectures have them, on which the rest of a call is measured; no measured model is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from almaflow.models.blocks import Layer


def _inverted(narrow: int, wide: int, out: int, stride: int) -> list[Layer]:
    return [
        ["conv", wide, 1, 1, 1, "relu6"],
        ["conv", wide, 3, stride, 0, "hardswish" if narrow > 48 else "relu6"],  # noqa: PLR2004 - as its deeper half
        ["conv", out, 1, 1, 1, "none"],
    ]


CHAINS: tuple[tuple[list[Layer], list[int]], ...] = (
    (
        [
            ["conv", 24, 3, 2, 1, "relu6"],
            *_inverted(24, 96, 40, 2),
            *_inverted(40, 200, 40, 1),
            *_inverted(40, 200, 72, 2),
            *_inverted(72, 360, 72, 1),
            *_inverted(72, 360, 120, 2),
            *_inverted(120, 600, 120, 1),
            ["head", 600],
        ],
        [3, 128, 128],
    ),
    (
        [
            ["conv", 48, 5, 2, 1, "relu"],
            ["pool", "max", 3, 2],
            ["residual", [["conv", 48, 3, 1, 1, "relu"], ["conv", 48, 3, 1, 1, "none"]], "relu"],
            ["conv", 96, 3, 2, 1, "relu"],
            ["residual", [["conv", 96, 3, 1, 1, "relu"], ["conv", 96, 3, 1, 1, "none"]], "relu"],
            ["conv", 208, 3, 2, 1, "relu"],
            ["dense", 24, 96],
            ["dense", 24, 96],
            ["head", 600],
        ],
        [3, 128, 128],
    ),
    (
        [
            ["conv", 40, 3, 2, 1, "silu"],
            ["conv", 40, 3, 2, 0, "silu"],
            ["conv", 144, 1, 1, 1, "silu"],
            ["gate", 12, "silu", "sigmoid"],
            ["conv", 56, 3, 2, 1, "none"],
            ["residual", [["conv", 56, 3, 1, 1, "relu"], ["conv", 56, 3, 1, 1, "none"]], "relu"],
            ["conv", 232, 1, 1, 1, "relu"],
            ["conv", 232, 3, 2, 8, "relu"],
            ["conv", 312, 1, 1, 1, "relu"],
            ["head", 600],
        ],
        [3, 128, 128],
    ),
    ([["patches", 256, 24], *([["transformer", 4, 4, "fused"]] * 3)], [3, 144, 144]),
)
"""Layers and shapes of the chains: with depthwise convolutions, with dense ones, mixed ones, and a transformer."""
