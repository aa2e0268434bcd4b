"""What a call of eager PyTorch takes beside its operators, from chains of layers whose operators are timed alone too.

An operator alone finds its code and its memory in the caches; in a model it finds a part of them. What that costs is
measured on chains as architectures have them.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import torch
from torch import nn

from almaflow.models.blocks import network
from almaflow.worker.operators.chains import CHAINS
from almaflow.worker.operators.eager_graph import recorded
from almaflow.worker.operators.eager_timer import COLD_BYTES, TimedOperator
from almaflow.worker.operators.floors import shortest_us
from almaflow.worker.operators.timing import time_group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.models.blocks import Layer

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
    found["node_us"] = max(0.0, median(_node_us(layers, shape, found) for layers, shape in CHAINS))
    return found


def _node_us(layers: list[Layer], shape: Sequence[int], known: dict[str, float]) -> float:
    """Return by how much the time of a chain exceeds the sum of its operators, for each operator."""
    torch.manual_seed(0)
    model, example = network(layers, list(shape)).eval(), torch.rand(1, *shape)
    operators, facts = recorded(model, [example])
    distinct = list({each.key: each for each in operators}.values())
    lines = time_group(distinct, TimedOperator, 0.0, cold_bytes=COLD_BYTES)
    times = {line["timed"]: float(line["warm_us"]) for line in lines if "timed" in line}
    alone = sum(times[each.key] for each in operators)
    other = sum(facts[name] * known[f"{name}_us"] for name in facts)
    return (shortest_us(lambda: model(example)) - alone - other) / len(operators)
