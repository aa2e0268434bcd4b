"""Layers whose operators fill a table: drawn by a fixed seed over the sizes in use, and parts of no measured model."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from almaflow.calibration.sizes import between

if TYPE_CHECKING:
    from collections.abc import Callable

    Layer = dict[str, Any]

SEED = 28
LARGEST_GFLOP, SMALLEST_GFLOP = 2.5, 0.0002
"""Bounds of one layer: a larger one takes too long for what it teaches, a smaller one shows the overhead only."""
LARGEST_MB = 48.0
"""The most MB of weights, or of activations."""
BATCHES = (1, 1, 1, 2, 4, 8)
SIDES = (7, 7, 14, 14, 28, 28, 56, 56, 112, 8, 13, 17, 27, 35, 55)
ACTIVATIONS = ("none", "relu", "relu6", "silu", "hardswish", "none")
LENGTHS = (49, 50, 64, 128, 197, 256, 512)


def layers(count: int) -> list[Layer]:
    """Return so many layers, the same ones each time; a longer list begins with the shorter one."""
    draw = Random(SEED)  # noqa: S311 - sizes, not secrets
    kinds = [kind for kind, (weight, _) in KINDS.items() for _ in range(weight)]
    found: list[Layer] = []
    while len(found) < count:
        kind = kinds[len(found) % len(kinds)]
        layer, gflop, mb = KINDS[kind][1](draw)
        if SMALLEST_GFLOP <= gflop <= LARGEST_GFLOP and mb <= LARGEST_MB:
            found.append(layer)
    return found


def _conv(
    draw: Random, kernels: tuple[int, ...], groups: str = "one", low: int = 16, first: int | None = None
) -> tuple[Layer, float, float]:
    wide = 1024 if kernels == (1,) else 512
    cin = first or between(draw, low, wide)
    cout = cin if groups == "each" else between(draw, 16, wide)
    kernel, batch, side = draw.choice(kernels), draw.choice(BATCHES), draw.choice(SIDES) * (2 if first else 1)
    parts = {"one": 1, "each": cin, "some": draw.choice((2, 4, 8, 16, 32))}[groups]
    if groups == "some":
        cin, cout = (max(parts * 8, each // (parts * 8) * parts * 8) for each in (cin, cout))
    stride = draw.choice((1, 1, 1, 2)) if not first else draw.choice((2, 2, 4, 1))
    layer = {
        "kind": "conv", "shape": [batch, cin, side, side], "out": cout, "kernel": kernel, "stride": stride,
        "groups": parts, "activation": draw.choice(ACTIVATIONS),
        "residual": stride == 1 and groups == "one" and draw.random() < RESIDUAL,
    }  # fmt: skip
    places = batch * (side / stride) ** 2
    work = 2e-9 * places * cout * (cin / parts) * kernel**2
    return layer, work, 4e-6 * max(batch * cin * side**2, places * cout, cout * cin / parts * kernel**2)


RESIDUAL = 0.25
"""The share of convolutions to which another tensor is added."""


def _linear(draw: Random) -> tuple[Layer, float, float]:
    rows = draw.choice((1, 1, 8, *LENGTHS, 400, 1024))
    one, other = between(draw, 128, 4096, 32), between(draw, 128, 4096, 32)
    layer = {
        "kind": "linear",
        "shape": [rows, one],
        "out": other,
        "activation": draw.choice(("none", "none", "gelu", "relu")),
    }
    return layer, 2e-9 * rows * one * other, 4e-6 * max(rows * max(one, other), one * other)


def _product(draw: Random) -> tuple[Layer, float, float]:
    length, heads, size = draw.choice(LENGTHS), draw.choice((2, 3, 4, 6, 8, 12, 16)), draw.choice((32, 64))
    heads *= draw.choice(BATCHES)
    turned = draw.random() < HALF
    shapes = (
        [[1, heads, length, size], [1, heads, size, length]]
        if turned
        else [[1, heads, length, length], [1, heads, length, size]]
    )
    return (
        {"kind": "product", "shape": shapes[0], "other": shapes[1]},
        2e-9 * heads * length**2 * size,
        4e-6 * heads * length**2,
    )


HALF = 0.5


def _simple(*names: str) -> Callable[[Random], tuple[Layer, float, float]]:
    """Return a function that draws an operation on a matrix of rows."""

    def drawn(draw: Random) -> tuple[Layer, float, float]:
        shape = [draw.choice(BATCHES), draw.choice(LENGTHS), between(draw, 64, 3072, 32)]
        size = shape[0] * shape[1] * shape[2]
        return {"kind": draw.choice(names), "shape": shape}, 1e-9 * size, 4e-6 * size

    return drawn


def _image(*names: str) -> Callable[[Random], tuple[Layer, float, float]]:
    """Return a function that draws an operation on images behind a convolution, in the layout that this leaves."""

    def drawn(draw: Random) -> tuple[Layer, float, float]:
        side = draw.choice(SIDES)
        shape = [draw.choice(BATCHES), between(draw, 16, 1024, 16), side, side]
        size = shape[0] * shape[1] * side**2
        return {"kind": draw.choice(names), "shape": shape}, 1e-9 * size, 4e-6 * size

    return drawn


KINDS: dict[str, tuple[int, Callable[[Random], tuple[Layer, float, float]]]] = {
    "conv": (8, lambda draw: _conv(draw, (3, 3, 3, 5))),
    "pointwise": (12, lambda draw: _conv(draw, (1,))),
    "depthwise": (7, lambda draw: _conv(draw, (3, 3, 5, 7), "each")),
    "grouped": (3, lambda draw: _conv(draw, (3,), "some", 64)),
    "first": (2, lambda draw: _conv(draw, (3, 7, 4, 11), first=3)),
    "linear": (6, _linear),
    "product": (3, _product),
    "rows": (4, _simple("norm", "softmax", "gelu", "add", "transpose")),
    "images": (5, _image("max_pool", "average_pool", "mean", "multiply", "image_add", "sigmoid", "concat")),
}
"""The share of each kind among the layers, and the function that draws one."""
