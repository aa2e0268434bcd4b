"""What a call of eager PyTorch takes beside its operators, from chains of layers whose operators are timed alone too.

An operator alone finds its code and its memory in the caches; in a model it finds a part of them. What that costs is
measured on chains as architectures have them.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from almaflow.models.blocks import network
from almaflow.worker.operators.chains import CHAINS
from almaflow.worker.operators.eager_graph import recorded
from almaflow.worker.operators.eager_timer import COLD_BYTES, TimedOperator
from almaflow.worker.operators.floors import floor, samples_until, shortest_us
from almaflow.worker.operators.timing import time_group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.models.blocks import Layer

VISITS, VISIT_US = 12, 15_000.0
"""Visits of each chain, in turns, and microseconds of calls in one. The lowest counts: a call of some ms is disturbed
more often than an operator."""
CONVOLUTION = "aten.convolution.default"
"""The operator that has a kernel of its own for each shape, and so finds less of it in the caches than others do."""
PASSES = 6
"""Visits of each operator that is timed alone."""
MANY = 100
"""Calls whose time is divided by their number."""


def rest(threads: int) -> dict[str, float]:
    """Return the parameters of the rest of a call."""
    del threads  # the process has them already
    tensor = torch.ones(4, 4)
    modules = nn.Sequential(*(nn.Identity() for _ in range(MANY)))
    found = {
        "modules_us": shortest_us(lambda: modules(tensor) is None) / MANY,
        "views_us": shortest_us(lambda: [tensor.view(16) for _ in range(MANY)]) / MANY,
    }
    return found | _nodes_us(found)


def _nodes_us(known: dict[str, float]) -> dict[str, float]:
    """Return by how much an operator takes longer in a chain than alone: a convolution, and any other."""
    chains = [_Chain(layers, shape) for layers, shape in CHAINS]
    lines = time_group(
        list({each.key: each for chain in chains for each in chain.operators}.values()),
        TimedOperator,
        0.0,
        PASSES,
        COLD_BYTES,
    )
    alone = {line["timed"]: float(line["warm_us"]) for line in lines if "timed" in line}
    whole = [min(times) for times in zip(*([chain.call_us() for chain in chains] for _ in range(VISITS)), strict=True)]
    gaps = []
    for chain, call_us in zip(chains, whole, strict=True):
        other = sum(count * known[f"{name}_us"] for name, count in chain.facts.items())
        gaps.append(call_us - other - sum(alone[each.key] for each in chain.operators))
    counts = [[chain.convolutions, len(chain.operators) - chain.convolutions] for chain in chains]
    of_convolution, of_other = nonnegative_fit(counts, gaps)
    return {f"node_us/{CONVOLUTION}": of_convolution, "node_us": of_other}


class _Chain:
    """Layers one after the other, and their operators."""

    def __init__(self, layers: list[Layer], shape: Sequence[int]) -> None:
        torch.manual_seed(0)
        self._model, self._example = network(layers, list(shape)).eval(), torch.rand(1, *shape)
        self.operators, self.facts = recorded(self._model, [self._example])
        self.convolutions = sum(each.kind == CONVOLUTION for each in self.operators)

    def call_us(self) -> float:
        """Return the floor of the calls of one visit, in microseconds."""
        self._model(self._example)
        return floor(samples_until(self._timed_us, VISIT_US))

    def _timed_us(self) -> float:
        started = perf_counter_ns()
        self._model(self._example)
        return (perf_counter_ns() - started) / 1000


def nonnegative_fit(counts: Sequence[Sequence[float]], gaps: Sequence[float]) -> tuple[float, float]:
    """Return two costs, neither below zero, whose sums over the counts are nearest to the gaps by least squares."""
    table, wanted = np.array(counts, dtype=np.float64), np.array(gaps)
    both = np.linalg.lstsq(table, wanted, rcond=None)[0]
    if (both >= 0).all():
        return float(both[0]), float(both[1])
    single = [max(0.0, float(column @ wanted / max(column @ column, 1e-9))) for column in table.T]
    misses = [np.square(column * cost - wanted).sum() for column, cost in zip(table.T, single, strict=True)]
    return (single[0], 0.0) if misses[0] <= misses[1] else (0.0, single[1])
