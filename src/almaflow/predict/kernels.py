"""The small networks that ``almaflow calibrate`` measures: from one layer to a block, drawn over the sizes in use.

No network is a whole model or part of one: sizes are drawn on a logarithmic scale by a fixed seed, so that what is
learnt from them was not chosen by the models that it is judged on. Knows no torch: ``models.blocks`` builds them.
"""

from __future__ import annotations

import itertools
import math
from random import Random
from typing import TYPE_CHECKING, Any

from almaflow.records import InputSpec, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable

TARGET = "almaflow.models.blocks.network"
DEEP = "chain"
"""The style that is as deep as whole models are."""
SEED = 20
LARGEST_GFLOP, SMALLEST_GFLOP = 5.0, 0.0005
"""Of one call: beyond, a network takes too long for what it tells, or tells of nothing but the overhead of a call."""
BATCHES = (1, 1, 2, 4, 8)
ACTIVATIONS = ("relu", "relu6", "silu", "hardswish", "gelu")
SIDES = (7, 14, 28, 56, 112)

Layers = list[list[Any]]


def kernels() -> list[ModelSpec]:
    """All of them, the same ones each time."""
    made: list[ModelSpec] = []
    for style, count in STYLES.items():
        draw = Random(f"{SEED} {style}")  # noqa: S311 - sizes, not secrets; another style's count changes none of these
        made += [_drawn(draw, style, number) for number in range(count)]
    return made


def _drawn(draw: Random, style: str, number: int) -> ModelSpec:
    while True:
        layers, shape, gflop = _STYLES[style](draw, number)
        batch = draw.choice(BATCHES)
        if SMALLEST_GFLOP <= batch * gflop <= LARGEST_GFLOP:
            inputs = (InputSpec(tuple(shape)),)
            kwargs = {"layers": layers, "shape": shape}
            return ModelSpec(f"{style}-{number}", TARGET, kwargs=kwargs, inputs=inputs, batch_size=batch)


def _between(draw: Random, low: float, high: float, step: int = 8) -> int:
    """A multiple of ``step``, evenly drawn by its logarithm."""
    return max(step, round(math.exp(draw.uniform(math.log(low), math.log(high))) / step) * step)


def _image(draw: Random, channels: int, smallest: int = 0) -> list[int]:
    side = draw.choice(SIDES[smallest:])
    return [channels, side, side]


def _convolutions(draw: Random, number: int) -> tuple[Layers, list[int], float]:
    """Two to four dense convolutions of different widths; each third one begins with a stride."""
    kernel = (3, 3, 3, 5, [1, 7], 7)[number % 6]
    shape = _image(draw, _between(draw, 16, 512), number % 2)
    channels, side, layers, work = shape[0], shape[1], [], 0.0
    for depth in range(draw.randint(2, 4)):
        out, stride = _between(draw, 16, 512), 2 if depth == 0 and number % 3 == 0 else 1
        side = (side + stride - 1) // stride
        layers.append(["conv", out, [7, 1] if kernel == [1, 7] and depth % 2 else kernel, stride])
        window = math.prod(kernel) if isinstance(kernel, list) else kernel**2
        work += 2e-9 * window * channels * out * side**2
        channels = out
    return layers, shape, work


def _heavy(draw: Random, number: int) -> tuple[Layers, list[int], float]:
    """Weights that no cache holds, as those of whole models: they come from memory at each call."""
    shape = _image(draw, _between(draw, 512, 1024, 64))
    shape[1:] = [7, 7] if number % 2 else [14, 14]
    kernel, channels, layers, work = (3, 1)[number % 3 == 2], shape[0], [], 0.0  # noqa: PLR2004 - each third
    for _ in range(4 if kernel == 3 else 12):  # noqa: PLR2004 - 3 x 3
        out = _between(draw, 512, 1024, 64)
        layers.append(["conv", out, kernel])
        work += 2e-9 * kernel**2 * channels * out * shape[1] ** 2
        channels = out
    return layers, shape, work


def _pointwise(draw: Random, number: int) -> tuple[Layers, list[int], float]:
    shape = _image(draw, _between(draw, 16, 1024))
    channels, layers, work = shape[0], [], 0.0
    for _ in range(draw.randint(2, 4)):
        out = _between(draw, 16, 1024)
        layers.append(["conv", out, 1, 1, 1, ACTIVATIONS[number % 4] if number % 3 else "none"])
        work += 2e-9 * channels * out * shape[1] ** 2
        channels = out
    return layers, shape, work


def _depthwise(draw: Random, number: int) -> tuple[Layers, list[int], float]:
    shape, kernel = _image(draw, _between(draw, 24, 960)), (3, 3, 5, 7)[number % 4]
    count = draw.randint(3, 5)
    layers: Layers = [["conv", shape[0], kernel, 1, 0, ACTIVATIONS[number % 4]] for _ in range(count)]
    if number % 3 == 0 and shape[1] >= 14:  # noqa: PLR2004 - a stride of two needs an image
        layers[0][3] = 2
    return layers, shape, 2e-9 * count * kernel**2 * math.prod(shape)


def _grouped(draw: Random, number: int) -> tuple[Layers, list[int], float]:
    width = (8, 16, 24, 32, 64)[number % 5]
    groups = draw.randint(2, 24)
    shape = _image(draw, width * groups)
    count = draw.randint(2, 3)
    layers: Layers = [["conv", shape[0], 3, 1, groups] for _ in range(count)]
    return layers, shape, 2e-9 * count * 9 * width * math.prod(shape)


def _stems(draw: Random, number: int) -> tuple[Layers, list[int], float]:
    """What images meet first: three channels, a stride, often a pool."""
    shape, width = [3, 224, 224], _between(draw, 16, 96)
    kernel, stride = ((3, 2), (7, 2), (3, 2), (11, 4))[number % 4]
    layers: Layers = [["conv", width, kernel, stride, 1, ACTIVATIONS[number % 3]]]
    if number % 2:
        layers.append(["pool", "max", 3, 2])
    return layers, shape, 2e-9 * 3 * width * (kernel * 224 / stride) ** 2


def _patches(draw: Random, number: int) -> tuple[Layers, list[int], float]:
    size, width = (4, 8, 16, 32)[number % 4], _between(draw, 64, 768, 32)
    return [["patches", width, size], ["layer_norm"]], [3, 224, 224], 2e-9 * 3 * width * 224**2


def _inverted(draw: Random, number: int) -> tuple[Layers, list[int], float]:
    """A wide depthwise convolution between two pointwise ones, mostly with a gate."""
    narrow, ratio = _between(draw, 16, 192), draw.choice((2, 3, 4, 6))
    shape, wide, kernel = _image(draw, narrow), narrow * ratio, draw.choice((3, 5))
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


def _bottlenecks(draw: Random, number: int) -> tuple[Layers, list[int], float]:
    """Residual blocks of dense or grouped convolutions."""
    wide, narrow = _between(draw, 64, 768, 32), _between(draw, 32, 256, 32)
    shape = _image(draw, wide)
    groups = (1, 1, 4, 8)[number % 4]
    inner: Layers = [["conv", narrow], ["conv", narrow, 3, 1, groups], ["conv", wide, 1, 1, 1, "none"]]
    inner[0] += [1]
    count = draw.randint(1, 3)
    work = 2e-9 * count * (2 * wide * narrow + 9 * narrow**2 / groups) * shape[1] ** 2
    return [["residual", inner, "relu"] for _ in range(count)], shape, work


def _dense(draw: Random, _number: int) -> tuple[Layers, list[int], float]:
    channels, growth, count = _between(draw, 32, 512), _between(draw, 16, 48), draw.randint(2, 5)
    shape, width = _image(draw, channels), 4 * growth
    work = 2e-9 * count * (width * (channels + count * growth / 2) + 9 * width * growth) * shape[1] ** 2
    return [["dense", growth, width] for _ in range(count)], shape, work


def _branches(draw: Random, number: int) -> tuple[Layers, list[int], float]:
    """Convolutions and a pool beside each other."""
    shape = _image(draw, _between(draw, 64, 512))
    one, two, three, four = (_between(draw, 16, 192) for _ in range(4))
    kernel = (3, 5)[number % 2]
    branches: list[Layers] = [
        [["conv", one, 1]],
        [["conv", two, 1], ["conv", three, kernel]],
        [["pool", ("max", "avg")[number % 2], 3, 1], ["conv", four, 1]],
    ]
    work = 2e-9 * (shape[0] * (one + two + four) + kernel**2 * two * three) * shape[1] ** 2
    return [["branches", *branches]], shape, work


def _halves(draw: Random, _number: int) -> tuple[Layers, list[int], float]:
    half = _between(draw, 24, 256)
    shape, count = _image(draw, 2 * half), draw.randint(2, 4)
    inner: Layers = [["conv", half, 1], ["conv", half, 3, 1, 0, "none"], ["conv", half, 1]]
    return [["halves", inner] for _ in range(count)], shape, 2e-9 * count * half * (2 * half + 9) * shape[1] ** 2


def _linear(draw: Random, number: int) -> tuple[Layers, list[int], float]:
    """From a row to a few hundred, from small weights to some that no cache holds."""
    rows = (1, 1, 16, 49, 128, 197)[number % 6]
    widths = [_between(draw, 128, 4096 if rows == 1 else 2048, 32) for _ in range(draw.randint(2, 4))]
    if number % 12 == 0:
        widths[:2] = [6144, 4096]
    layers: Layers = [["linear", width, ("none", "relu", "gelu")[number % 3]] for width in widths[1:]]
    shape = [widths[0]] if rows == 1 else [rows, widths[0]]
    return layers, shape, 2e-9 * rows * sum(one * other for one, other in itertools.pairwise(widths))


def _large(draw: Random, _number: int) -> tuple[Layers, list[int], float]:
    """Linear layers whose weights no cache holds, on one row for each input of the batch."""
    widths = [_between(draw, 2048, 9216, 64) for _ in range(draw.randint(2, 3))]
    layers: Layers = [["linear", width, "relu"] for width in widths[1:]]
    return layers, [widths[0]], 2e-9 * sum(one * other for one, other in itertools.pairwise(widths))


def _transformers(draw: Random, number: int) -> tuple[Layers, list[int], float]:
    head, heads = draw.choice((32, 64)), draw.randint(2, 12)
    width, length = head * heads, draw.choice((49, 64, 128, 197))
    count = draw.randint(1, 2)
    work = 2e-9 * count * (12 * length * width**2 + 2 * length**2 * width)
    return (
        [["transformer", heads, 4, "fused" if number % 4 else "parts"] for _ in range(count)],
        [length, width],
        work,
    )


def _mixing(draw: Random, number: int) -> tuple[Layers, list[int], float]:
    width, count = _between(draw, 48, 512, 16), draw.randint(1, 2)
    shape, kernel = _image(draw, width), (3, 5, 7)[number % 3]
    return (
        [["mixing", kernel, 4] for _ in range(count)],
        shape,
        2e-9 * count * width * (8 * width + kernel**2) * shape[1] ** 2,
    )


def _light(draw: Random, number: int) -> tuple[Layers, list[int], float]:
    """What computes little and moves much, between two pointwise convolutions."""
    channels = _between(draw, 32, 384)
    shape = _image(draw, channels, 1)
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


def _chains(draw: Random, number: int) -> tuple[Layers, list[int], float]:
    """Blocks of drawn kinds on an image that shrinks: many operations in a row keep less in the caches than two do."""
    side, channels = 112, _between(draw, 16, 64)
    layers: Layers = [["conv", channels, 3, 2]]
    work = 2e-9 * 27 * channels * side**2
    for _ in range(draw.randint(2, 4)):
        out, groups = _between(draw, channels, 2.5 * channels), draw.choice((1, 1, 0))
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
    """A block that keeps ``width`` channels, and its multiplications at each place."""
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


STYLES = {
    "conv": 15,
    "heavy": 5,
    "pointwise": 8,
    "depthwise": 8,
    "grouped": 5,
    "stem": 4,
    "patches": 3,
    "inverted": 11,
    "bottleneck": 5,
    "dense": 4,
    "branches": 4,
    "halves": 3,
    "linear": 9,
    "large": 6,
    "transformer": 8,
    "mixing": 4,
    "light": 8,
    DEEP: 9,
}
"""How many of each."""

_STYLES: dict[str, Callable[[Random, int], tuple[Layers, list[int], float]]] = {
    "conv": _convolutions,
    "heavy": _heavy,
    "pointwise": _pointwise,
    "depthwise": _depthwise,
    "grouped": _grouped,
    "stem": _stems,
    "patches": _patches,
    "inverted": _inverted,
    "bottleneck": _bottlenecks,
    "dense": _dense,
    "branches": _branches,
    "halves": _halves,
    "linear": _linear,
    "large": _large,
    "transformer": _transformers,
    "mixing": _mixing,
    "light": _light,
    DEEP: _chains,
}
