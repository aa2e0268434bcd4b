"""Predictors side by side: how far each was from what a job measured."""

from __future__ import annotations

import re
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ERROR = re.compile(r"prediction/(?P<predictor>[^/]+)/error_pct")


@dataclass(frozen=True)
class Standing:
    """One predictor's errors over a job's conversions, in percent."""

    predictor: str
    count: int
    """Conversions that it predicted and that gave a latency that counts."""
    mean_abs_error_pct: float
    """Mean absolute error against the median."""
    mean_abs_floor_error_pct: float
    """Mean absolute error against the floor."""


def standings(metrics: Iterable[Mapping[str, float]]) -> list[Standing]:
    """Return each predictor's errors, the nearest to the medians first.

    Args:
        metrics: The metrics of each conversion, as ``outcome_metrics`` returns them.
    """
    errors: dict[str, list[tuple[float, float]]] = {}
    for each in metrics:
        for name, value in each.items():
            if match := _ERROR.fullmatch(name):
                section = f"prediction/{match['predictor']}"
                errors.setdefault(match["predictor"], []).append((abs(value), abs(each[f"{section}/floor_error_pct"])))
    unsorted = [
        Standing(name, len(pairs), fmean(pair[0] for pair in pairs), fmean(pair[1] for pair in pairs))
        for name, pairs in errors.items()
    ]
    return sorted(unsorted, key=lambda standing: standing.mean_abs_error_pct)
