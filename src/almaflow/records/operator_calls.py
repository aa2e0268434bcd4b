"""The time of a call from the times of its operators.

An operator takes its warm time if all weights of the model stay in the caches between two calls, and its cold time if
none does; in a model ``scale`` times as long as alone. A call takes ``call_us`` besides, and ``node_us`` for each
operator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.records.operators import cold_share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from almaflow.records.operators import OperatorGraph, OperatorTime


def operator_us(graph: OperatorGraph, times: Sequence[OperatorTime | None], rest: Mapping[str, float]) -> list[float]:
    """Return the microseconds of each operator within a call.

    Args:
        graph: The operators.
        times: The time of each; None for one that takes only the time of a node.
        rest: The parameters of the rest of a call.
    """
    share, scale = cold_share(graph.weight_bytes / 1e6, rest), rest.get("scale", 1.0)
    return [
        _node_us(operator.kind, rest) + (scale * _between(each, share) if each else 0.0)
        for operator, each in zip(graph.operators, times, strict=True)
    ]


def _node_us(kind: str, rest: Mapping[str, float]) -> float:
    """Return the overhead of an operator: of its kind, where that has one of its own."""
    return rest.get(f"node_us/{kind}", rest.get("node_us", 0.0))


def _between(time: OperatorTime, share: float) -> float:
    cold_us = time.warm_us if time.cold_us is None else time.cold_us
    return time.warm_us + share * (cold_us - time.warm_us)


def call_us(graph: OperatorGraph, rest: Mapping[str, float]) -> float:
    """Return the microseconds of a call that belong to none of its operators.

    These are ``call_us``, and the parameter ``NAME_us`` for each thing that a fact of the graph counts, such as the
    calls of ``modules`` in eager PyTorch.
    """
    counted = sum(count * rest.get(f"{name}_us", 0.0) for name, count in graph.facts.items())
    return rest.get("call_us", 0.0) + counted
