"""The Pareto front of a job's conversions: latency, accuracy and memory, in each of which less is given up for more."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from almaflow.analysis.metric_names import more_is_better, value_of
from almaflow.records.quality import figure_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    Metrics = Mapping[str, float | None]

LATENCY, FIDELITY, MEMORY = "latency_ms", "fidelity/sqnr_db", "memory/model_mb"
SMALL_SHARE, SMALL_DB = 0.01, 1.0
"""Differences in latency and size, as a share of the larger, and in SQNR, that do not count: noise is no less."""


def accuracy_metric(candidates: Mapping[str, Metrics]) -> str:
    """Return the metric of accuracy: the first of ``quality/...`` where any was evaluated, else the SQNR."""
    evaluated = (
        name
        for metrics in candidates.values()
        for name, value in metrics.items()
        if figure_of(name) and value is not None
    )
    return next(evaluated, FIDELITY)


def front(candidates: Mapping[str, Metrics], lower_is_better: Collection[str] = ()) -> list[str]:
    """Return the names of the conversions on the front, the fastest first; none where there is but one to choose from.

    A conversion is on it unless another one is as good in latency, accuracy and size of the model, and better in one of
    them; small differences do not count. What is not known counts as the worst.

    Args:
        candidates: The metrics of each conversion that counts, by its name.
        lower_is_better: Figures of quality of which less is better although their names do not say so.
    """
    if len(candidates) < 2:  # noqa: PLR2004 - no choice
        return []
    accuracy = accuracy_metric(candidates)
    signs = {each: -1 if more_is_better(each, lower_is_better) else 1 for each in (LATENCY, accuracy, MEMORY)}
    costs = {name: [_cost(metrics, each, sign) for each, sign in signs.items()] for name, metrics in candidates.items()}
    small = (SMALL_SHARE, 0.0), (0.0, SMALL_DB if accuracy == FIDELITY else 0.0), (SMALL_SHARE, 0.0)
    found: list[str] = []
    # One after the other, since "as good but for a small difference" may lead in a circle.
    for name in sorted(costs, key=costs.__getitem__):
        if not any(_dominates(costs[other], costs[name], small) for other in found):
            found = [other for other in found if not _dominates(costs[name], costs[other], small)] + [name]
    return found


def _dominates(one: Sequence[float], other: Sequence[float], small: Sequence[tuple[float, float]]) -> bool:
    """Whether the first is nowhere more than a little worse, and somewhere more than a little better.

    Args:
        one: The costs of the first.
        other: The costs of the second.
        small: What is a little of each cost: as a share, and as it is.
    """
    triples = list(zip(one, other, small, strict=True))
    return all(_less(own, costs, *little) >= 0 for own, costs, little in triples) and any(
        _less(own, costs, *little) > 0 for own, costs, little in triples
    )


def _less(one: float, other: float, share: float, amount: float) -> int:
    """Compare two costs: 1 where the first is less by more than a little, 0 where they are alike, else -1."""
    if math.isclose(one, other, rel_tol=share, abs_tol=amount):
        return 0
    return 1 if one < other else -1


def _cost(metrics: Metrics, name: str, sign: int) -> float:
    value = value_of(metrics, name)
    return math.inf if value is None else sign * value
