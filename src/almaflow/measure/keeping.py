"""Decides which workers write their converted models before they end."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from almaflow.analysis import counts
from almaflow.analysis.metrics import timings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from almaflow.measure.conversion_run import ConversionRun
    from almaflow.records import Outcome

SLACK = 1.05
"""A worker whose reports are slower than the best by less than this factor writes too: its median is known later."""


@dataclass
class Keeping:
    """Decides which conversions write their models: all of some, or those that may be the fastest of them."""

    names: frozenset[str] = frozenset()
    """Conversions that can be written and are asked for."""
    only_best: bool = False
    """Whether only the fastest of those that may be the best is kept."""
    may_be_best: Callable[[Outcome], bool] = counts
    best_ms: float | None = None
    """Median of the fastest that has been written and counts."""

    def in_order(self, runs: Sequence[ConversionRun]) -> Sequence[ConversionRun]:
        """Return the runs in the order in which they end: the fastest first where only the best one is kept."""
        if not (self.only_best and self.names):
            return runs
        return sorted(runs, key=lambda run: _median_ms(run) or float("inf"))

    def wants(self, run: ConversionRun) -> bool:
        """Whether a run that is ready to end is to write its model."""
        found = _median_ms(run)
        if run.planned.name not in self.names or found is None:
            return False
        return not self.only_best or self.best_ms is None or found <= SLACK * self.best_ms

    def learn(self, run: ConversionRun) -> None:
        """Take note of an outcome: a slower one need not be written any more."""
        outcome = run.outcome
        timed = timings(outcome) if outcome and self.may_be_best(outcome) else None
        written = outcome is not None and outcome.measurement is not None and outcome.measurement.export_mb is not None
        if timed and written and (self.best_ms is None or timed.median < self.best_ms):
            self.best_ms = timed.median


def _median_ms(run: ConversionRun) -> float | None:
    """Return the median over the rounds of the process that runs now; None where it took none."""
    reports = run.worker.reports if run.worker else []
    return median(each.median_ms for each in reports) if reports else None
