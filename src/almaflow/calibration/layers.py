"""Small networks of a few layers of one kind: each function draws the layers of one.

Each function takes the generator that draws sizes, and the number of the network within its style.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from almaflow.calibration.sizes import ACTIVATIONS, between, image

if TYPE_CHECKING:
    from random import Random

    from almaflow.calibration.sizes import Drawn, Layers


def convolutions(draw: Random, number: int) -> Drawn:
    """Two to four dense convolutions of different widths; each third one begins with a stride."""
    kernel = (3, 3, 3, 5, [1, 7], 7)[number % 6]
    shape = image(draw, between(draw, 16, 512), number % 2)
    channels, side, layers, work = shape[0], shape[1], [], 0.0
    for depth in range(draw.randint(2, 4)):
        out, stride = between(draw, 16, 512), 2 if depth == 0 and number % 3 == 0 else 1
        side = (side + stride - 1) // stride
        layers.append(["conv", out, [7, 1] if kernel == [1, 7] and depth % 2 else kernel, stride])
        window = math.prod(kernel) if isinstance(kernel, list) else kernel**2
        work += 2e-9 * window * channels * out * side**2
        channels = out
    return layers, shape, work


def heavy(draw: Random, number: int) -> Drawn:
    """Convolutions whose weights no cache holds, as in whole models: they come from memory at each call."""
    shape = image(draw, between(draw, 512, 1024, 64))
    shape[1:] = [7, 7] if number % 2 else [14, 14]
    kernel, channels, layers, work = (3, 1)[number % 3 == 2], shape[0], [], 0.0  # noqa: PLR2004 - each third
    for _ in range(4 if kernel == 3 else 12):  # noqa: PLR2004 - 3 x 3
        out = between(draw, 512, 1024, 64)
        layers.append(["conv", out, kernel])
        work += 2e-9 * kernel**2 * channels * out * shape[1] ** 2
        channels = out
    return layers, shape, work


def pointwise(draw: Random, number: int) -> Drawn:
    """Convolutions with a window of one by one."""
    shape = image(draw, between(draw, 16, 1024))
    channels, layers, work = shape[0], [], 0.0
    for _ in range(draw.randint(2, 4)):
        out = between(draw, 16, 1024)
        layers.append(["conv", out, 1, 1, 1, ACTIVATIONS[number % 4] if number % 3 else "none"])
        work += 2e-9 * channels * out * shape[1] ** 2
        channels = out
    return layers, shape, work


def depthwise(draw: Random, number: int) -> Drawn:
    """Convolutions of each channel by itself, some with a stride."""
    shape, kernel = image(draw, between(draw, 24, 960)), (3, 3, 5, 7)[number % 4]
    count = draw.randint(3, 5)
    layers: Layers = [["conv", shape[0], kernel, 1, 0, ACTIVATIONS[number % 4]] for _ in range(count)]
    if number % 3 == 0 and shape[1] >= 14:  # noqa: PLR2004 - a stride of two needs an image
        layers[0][3] = 2
    return layers, shape, 2e-9 * count * kernel**2 * math.prod(shape)


def grouped(draw: Random, number: int) -> Drawn:
    """Convolutions of groups of channels, as wide as those in use."""
    width = (8, 16, 24, 32, 64)[number % 5]
    groups = draw.randint(2, 24)
    shape = image(draw, width * groups)
    count = draw.randint(2, 3)
    layers: Layers = [["conv", shape[0], 3, 1, groups] for _ in range(count)]
    return layers, shape, 2e-9 * count * 9 * width * math.prod(shape)


def stems(draw: Random, number: int) -> Drawn:
    """First layers of image models: three channels, a stride, often a pool."""
    shape, width = [3, 224, 224], between(draw, 16, 96)
    kernel, stride = ((3, 2), (7, 2), (3, 2), (11, 4))[number % 4]
    layers: Layers = [["conv", width, kernel, stride, 1, ACTIVATIONS[number % 3]]]
    if number % 2:
        layers.append(["pool", "max", 3, 2])
    return layers, shape, 2e-9 * 3 * width * (kernel * 224 / stride) ** 2


def patches(draw: Random, number: int) -> Drawn:
    """Images cut into squares, as vision transformers begin."""
    size, width = (4, 8, 16, 32)[number % 4], between(draw, 64, 768, 32)
    return [["patches", width, size], ["layer_norm"]], [3, 224, 224], 2e-9 * 3 * width * 224**2


def linear(draw: Random, number: int) -> Drawn:
    """Linear layers on one row to a few hundred, with small weights and with some that no cache holds."""
    rows = (1, 1, 16, 49, 128, 197)[number % 6]
    widths = [between(draw, 128, 4096 if rows == 1 else 2048, 32) for _ in range(draw.randint(2, 4))]
    if number % 12 == 0:
        widths[:2] = [6144, 4096]
    layers: Layers = [["linear", width, ("none", "relu", "gelu")[number % 3]] for width in widths[1:]]
    shape = [widths[0]] if rows == 1 else [rows, widths[0]]
    return layers, shape, 2e-9 * rows * sum(one * other for one, other in itertools.pairwise(widths))


def large(draw: Random, _number: int) -> Drawn:
    """Linear layers whose weights no cache holds, on one row for each input of the batch."""
    widths = [between(draw, 2048, 9216, 64) for _ in range(draw.randint(2, 3))]
    layers: Layers = [["linear", width, "relu"] for width in widths[1:]]
    return layers, [widths[0]], 2e-9 * sum(one * other for one, other in itertools.pairwise(widths))


def light(draw: Random, number: int) -> Drawn:
    """Operations that compute little and move much, between two pointwise convolutions."""
    channels = between(draw, 32, 384)
    shape = image(draw, channels, 1)
    kinds: list[Layers] = [
        [["pool", "max", 3, 2]],
        [["pool", "avg", 3, 1]],
        [["batch_norm"], ["activation", "relu"]],
        [["activation", "gelu"]],
        [["activation", "silu"]],
        [["activation", "hardswish"]],
        [["softmax"]],
        [["roll"]],
    ]
    layers: Layers = [["conv", channels, 1, 1, 1, "none"], *kinds[number % 8], ["conv", channels, 1, 1, 1, "none"]]
    if number % 2:
        layers.append(["head", 1000])
    return layers, shape, 4e-9 * channels**2 * shape[1] ** 2
