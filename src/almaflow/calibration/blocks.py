"""Small networks of blocks as whole models have them: each function draws the layers of one.

Each function takes the generator that draws sizes, and the number of the network within its style.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.calibration.sizes import ACTIVATIONS, between, image

if TYPE_CHECKING:
    from random import Random

    from almaflow.calibration.sizes import Drawn, Layers


def inverted(draw: Random, number: int) -> Drawn:
    """A wide depthwise convolution between two pointwise ones, mostly with a gate."""
    narrow, ratio = between(draw, 16, 192), draw.choice((2, 3, 4, 6))
    shape, wide, kernel = image(draw, narrow), narrow * ratio, draw.choice((3, 5))
    activation = ("relu6", "hardswish", "silu", "relu")[number % 4]
    inner: Layers = [["conv", wide, 1, 1, 1, activation], ["conv", wide, kernel, 1, 0, activation]]
    if number % 4:
        small = max(8, wide // 24 * 4)
        gate = "hardsigmoid" if activation == "hardswish" else "sigmoid"
        inner.append(["gate", small, "silu" if activation == "silu" else "relu", gate])
    inner.append(["conv", narrow, 1, 1, 1, "none"])
    count = draw.randint(1, 3)
    work = 2e-9 * count * wide * (2 * narrow + kernel**2) * shape[1] ** 2
    return [["residual", inner] for _ in range(count)], shape, work


def bottlenecks(draw: Random, number: int) -> Drawn:
    """Residual blocks of dense or grouped convolutions."""
    wide, narrow = between(draw, 64, 768, 32), between(draw, 32, 256, 32)
    shape = image(draw, wide)
    groups = (1, 1, 4, 8)[number % 4]
    inner: Layers = [["conv", narrow], ["conv", narrow, 3, 1, groups], ["conv", wide, 1, 1, 1, "none"]]
    inner[0] += [1]
    count = draw.randint(1, 3)
    work = 2e-9 * count * (2 * wide * narrow + 9 * narrow**2 / groups) * shape[1] ** 2
    return [["residual", inner, "relu"] for _ in range(count)], shape, work


def dense(draw: Random, _number: int) -> Drawn:
    """Layers that add their channels to those of their input."""
    channels, growth, count = between(draw, 32, 512), between(draw, 16, 48), draw.randint(2, 5)
    shape, width = image(draw, channels), 4 * growth
    work = 2e-9 * count * (width * (channels + count * growth / 2) + 9 * width * growth) * shape[1] ** 2
    return [["dense", growth, width] for _ in range(count)], shape, work


def branches(draw: Random, number: int) -> Drawn:
    """Convolutions and a pool beside each other."""
    shape = image(draw, between(draw, 64, 512))
    one, two, three, four = (between(draw, 16, 192) for _ in range(4))
    kernel = (3, 5)[number % 2]
    paths: list[Layers] = [
        [["conv", one, 1]],
        [["conv", two, 1], ["conv", three, kernel]],
        [["pool", ("max", "avg")[number % 2], 3, 1], ["conv", four, 1]],
    ]
    work = 2e-9 * (shape[0] * (one + two + four) + kernel**2 * two * three) * shape[1] ** 2
    return [["branches", *paths]], shape, work


def halves(draw: Random, _number: int) -> Drawn:
    """Layers that leave one half of the channels alone and shuffle both."""
    half = between(draw, 24, 256)
    shape, count = image(draw, 2 * half), draw.randint(2, 4)
    inner: Layers = [["conv", half, 1], ["conv", half, 3, 1, 0, "none"], ["conv", half, 1]]
    return [["halves", inner] for _ in range(count)], shape, 2e-9 * count * half * (2 * half + 9) * shape[1] ** 2


def transformers(draw: Random, number: int) -> Drawn:
    """Attention and a small network behind it, by one fused operator or by its parts."""
    head, heads = draw.choice((32, 64)), draw.randint(2, 12)
    width, length = head * heads, draw.choice((49, 64, 128, 197))
    count = draw.randint(1, 2)
    work = 2e-9 * count * (12 * length * width**2 + 2 * length**2 * width)
    return (
        [["transformer", heads, 4, "fused" if number % 4 else "parts"] for _ in range(count)],
        [length, width],
        work,
    )


def mixing(draw: Random, number: int) -> Drawn:
    """A depthwise convolution, normalisation, and a wide linear layer between two narrow ones."""
    width, count = between(draw, 48, 512, 16), draw.randint(1, 2)
    shape, kernel = image(draw, width), (3, 5, 7)[number % 3]
    return (
        [["mixing", kernel, 4] for _ in range(count)],
        shape,
        2e-9 * count * width * (8 * width + kernel**2) * shape[1] ** 2,
    )


def chains(draw: Random, number: int) -> Drawn:
    """Blocks of drawn kinds on an image that shrinks: many operations in a row keep less in the caches than two do."""
    side, channels = 112, between(draw, 16, 64)
    layers: Layers = [["conv", channels, 3, 2]]
    work = 2e-9 * 27 * channels * side**2
    for _ in range(draw.randint(2, 4)):
        out, groups = between(draw, channels, 2.5 * channels), draw.choice((1, 1, 0))
        side = (side + 1) // 2
        if groups:
            layers.append(["conv", out, 3, 2])
        else:
            layers += [["conv", channels, 3, 2, 0], ["conv", out, 1]]
        work += 2e-9 * 9 * channels * (out if groups else 1) * side**2
        channels = out
        for _ in range(draw.randint(1, 3)):
            inner, flop = _block(draw, channels, ACTIVATIONS[number % 4])
            layers.append(["residual", inner])
            work += 2e-9 * flop * side**2
    return [*layers, ["head", 1000]], [3, 224, 224], work


def _block(draw: Random, width: int, activation: str) -> tuple[Layers, float]:
    """Draw a block that keeps ``width`` channels, and count its multiplications at each position."""
    kind, ratio, kernel = draw.choice(("dense", "inverted", "gated", "grouped")), draw.choice((2, 4, 6)), 3
    if kind in {"inverted", "gated"}:
        wide = ratio * width
        inner: Layers = [["conv", wide, 1, 1, 1, activation], ["conv", wide, kernel, 1, 0, activation]]
        if kind == "gated":
            inner.append(["gate", max(8, width // 4), "relu", "sigmoid"])
        return [*inner, ["conv", width, 1, 1, 1, "none"]], wide * (2 * width + kernel**2)
    groups = 1 if kind == "dense" else max(1, width // 16)
    if width % groups:
        groups = 1
    inner = [["conv", width, 3, 1, groups, activation], ["conv", width, 1 if groups > 1 else 3, 1, 1, "none"]]
    return inner, 9 * width**2 / groups + (1 if groups > 1 else 9) * width**2
