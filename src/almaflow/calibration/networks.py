"""The small networks that ``almaflow calibrate`` measures: from one layer to a block, drawn over the sizes in use.

No network is a whole model or part of one: sizes are drawn on a logarithmic scale by a fixed seed, so that what is
learnt from them was not chosen by the models that it is tested on. Imports no torch: ``models.blocks`` builds them.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from almaflow.calibration import blocks, layers
from almaflow.records import InputSpec, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.calibration.sizes import Drawn

TARGET = "almaflow.models.blocks.network"
DEEP = "chain"
"""The style that is as deep as whole models are."""
SEED = 20
LARGEST_GFLOP, SMALLEST_GFLOP = 5.0, 0.0005
"""Bounds of one call: a larger network takes too long for what it teaches, a smaller one shows the overhead only."""
BATCHES = (1, 1, 2, 4, 8)
LARGER = 16
"""The factor on batches, and so on work, on a GPU: there, less work takes no longer than its launch."""


def calibration_networks(device: str = "cpu") -> list[ModelSpec]:
    """Return all of the networks, the same ones each time.

    Args:
        device: ``cpu``, or ``cuda``, where batches are larger.
    """
    larger = LARGER if device == "cuda" else 1
    networks: list[ModelSpec] = []
    for style, (count, _) in STYLES.items():
        draw = Random(f"{SEED} {style}")  # noqa: S311 - sizes, not secrets; another style's count changes none of these
        networks += [_drawn(draw, style, number, larger) for number in range(count)]
    return networks


def _drawn(draw: Random, style: str, number: int, larger: int) -> ModelSpec:
    while True:
        drawn, shape, gflop = STYLES[style][1](draw, number)
        batch = draw.choice(BATCHES)
        if SMALLEST_GFLOP <= batch * gflop <= LARGEST_GFLOP:
            inputs = (InputSpec(tuple(shape)),)
            kwargs = {"layers": drawn, "shape": shape}
            return ModelSpec(f"{style}-{number}", TARGET, kwargs=kwargs, inputs=inputs, batch_size=larger * batch)


STYLES: dict[str, tuple[int, Callable[[Random, int], Drawn]]] = {
    "conv": (15, layers.convolutions),
    "heavy": (5, layers.heavy),
    "pointwise": (8, layers.pointwise),
    "depthwise": (8, layers.depthwise),
    "grouped": (5, layers.grouped),
    "stem": (4, layers.stems),
    "patches": (3, layers.patches),
    "inverted": (11, blocks.inverted),
    "bottleneck": (5, blocks.bottlenecks),
    "dense": (4, blocks.dense),
    "branches": (4, blocks.branches),
    "halves": (3, blocks.halves),
    "linear": (9, layers.linear),
    "large": (6, layers.large),
    "transformer": (8, blocks.transformers),
    "mixing": (4, blocks.mixing),
    "light": (8, layers.light),
    DEEP: (9, blocks.chains),
}
"""The number of networks of each style, and the function that draws one."""
