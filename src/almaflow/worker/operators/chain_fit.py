"""How much longer operators take in a model than alone, from chains of layers whose operators are timed alone too.

Alone an operator finds its memory as the operator before would leave it, but not as all of a model's leave it, and its
threads wait for nobody. What that costs is measured on chains as architectures have them.
"""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import torch

from almaflow.records import from_dict
from almaflow.records.operator_calls import call_us, operator_us
from almaflow.records.operators import Operator, OperatorGraph, OperatorTime
from almaflow.worker.operators.chains import CHAINS
from almaflow.worker.operators.floors import floor, samples_until
from almaflow.worker.operators.timing import time_group

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

VISITS, VISIT_US = 12, 15_000.0
"""Visits of each chain, in turns, and microseconds of calls in one. The lowest counts: a call of some ms is disturbed
more often than an operator."""
PASSES = 6
"""Visits of each operator that is timed alone."""
LEAST_DEVIATION = 0.02
"""Floors of a job repeat within two hundredths, so that no sum is known better."""


def fit(conversion: str, chains: Mapping[str, Any], module: Any, rest: Mapping[str, float]) -> dict[str, float]:
    """Return ``scale``, and ``deviation``: the relative standard deviation of sums of operators from whole calls.

    Args:
        conversion: The conversion that the operators are of.
        chains: The ``directory`` of the files, and the ``operators`` of each.
        module: The timer of the conversion.
        rest: What is known of the rest of a call.
    """
    graphs = [
        OperatorGraph(conversion, tuple(from_dict(Operator, each) for each in operators))
        for operators in chains["operators"]
    ]
    distinct = {each.key: each for graph in graphs for each in graph.operators if not each.is_view}
    lines = time_group(list(distinct.values()), module.TimedOperator, module.overhead_us(), PASSES)
    times = {
        line["timed"]: OperatorTime(distinct[line["timed"]], line["warm_us"], line["cold_us"], line["spread"])
        for line in lines
        if "timed" in line
    }
    whole = _floors(
        [
            module.chain_call(Path(chains["directory"], f"chain{number}.onnx"), torch.rand(1, *shape))
            for number, (_, shape) in enumerate(CHAINS)
        ]
    )
    ratios = []
    for graph, floor_us in zip(graphs, whole, strict=True):
        found = [None if each.is_view else times.get(each.key) for each in graph.operators]
        nodes_us = sum(operator_us(graph, [None] * len(found), rest))
        alone_us = sum(operator_us(graph, found, rest)) - nodes_us
        ratios.append((floor_us - nodes_us - call_us(graph, rest)) / alone_us)
    return scale_of(ratios)


def scale_of(ratios: Sequence[float]) -> dict[str, float]:
    """Return the mean of what chains take over their operators alone, and how far a single one is from it."""
    scale = sum(ratios) / len(ratios)
    spread = sqrt(sum((each / scale - 1) ** 2 for each in ratios) / (len(ratios) - 1))
    return {"scale": scale, "deviation": max(LEAST_DEVIATION, spread)}


def _floors(calls: Sequence[Callable[[], object]]) -> list[float]:
    """Return the floors of calls in microseconds, of which each is visited in turn."""

    def visited(call: Callable[[], object]) -> float:
        def timed_us() -> float:
            started = perf_counter_ns()
            call()
            return (perf_counter_ns() - started) / 1000

        call()
        return floor(samples_until(timed_us, VISIT_US))

    return [min(times) for times in zip(*([visited(call) for call in calls] for _ in range(VISITS)), strict=True)]
