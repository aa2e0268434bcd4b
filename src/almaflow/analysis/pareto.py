"""The Pareto front of a job's conversions: latency, accuracy and memory, in each of which less is given up for more."""

from __future__ import annotations

import math
from operator import le
from typing import TYPE_CHECKING

from almaflow.analysis.metric_names import more_is_better, value_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    Metrics = Mapping[str, float | None]

LATENCY, FIDELITY, MEMORY = "latency_ms", "fidelity/sqnr_db", "memory/model_mb"
_DERIVED = ("_drop", "_drop_low", "_drop_high")


def accuracy_metric(candidates: Mapping[str, Metrics]) -> str:
    """Return the metric of accuracy: the first of ``quality/...`` where any was evaluated, else the SQNR."""
    evaluated = (
        name
        for metrics in candidates.values()
        for name, value in metrics.items()
        if name.startswith("quality/") and not name.endswith(_DERIVED) and value is not None
    )
    return next(evaluated, FIDELITY)


def front(candidates: Mapping[str, Metrics]) -> list[str]:
    """Return the names of the conversions on the front, the fastest first; none where there is but one to choose from.

    A conversion is on it unless another one is at least as good in latency, accuracy and size of the model, and better
    in one of them. What is not known counts as the worst.

    Args:
        candidates: The metrics of each conversion that counts, by its name.
    """
    if len(candidates) < 2:  # noqa: PLR2004 - no choice
        return []
    names = (LATENCY, accuracy_metric(candidates), MEMORY)
    costs = {each: tuple(_cost(metrics, name) for name in names) for each, metrics in candidates.items()}
    on_it = [
        each
        for each, own in costs.items()
        if not any(other != own and all(map(le, other, own)) for other in costs.values())
    ]
    return sorted(on_it, key=costs.__getitem__)


def _cost(metrics: Metrics, name: str) -> float:
    value = value_of(metrics, name)
    if value is None:
        return math.inf
    return -value if more_is_better(name) else value
