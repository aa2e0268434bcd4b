"""Probes how far the machine drifts during a job, by eager calls at its start and at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from almaflow.records import Drift
from almaflow.records.protocol import RoundRequest

if TYPE_CHECKING:
    from almaflow.processes.worker_handle import WorkerHandle

ROUNDS = 5
"""At either end: enough to see how much rounds differ when nothing drifts, in about a second."""

MIN_CALLS, MIN_TIME_S, MAX_TIME_S = 3, 0.1, 1.0


@dataclass
class DriftProbe:
    """Takes eager calls in the reference worker, which has the model and waits."""

    worker: WorkerHandle
    _start: list[float] = field(default_factory=list)
    _end: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Take over the worker: from here on its phases are no conversion's."""
        self.worker.on_phase = lambda _phase: None

    def at_start(self) -> None:
        """Take the rounds before the first conversion."""
        self._start = self._rounds()

    def at_end(self) -> None:
        """Take those after the last one."""
        self._end = self._rounds()

    def drift(self) -> Drift | None:
        """Compare the two; None unless both were taken, or where the clock is too coarse for the call."""
        if not self._start or not self._end or not min(self._start + self._end) > 0:
            return None
        resolved = max((max(ms) - min(ms)) / median(ms) for ms in (self._start, self._end))
        return Drift(median(self._start), median(self._end), resolved)

    def _rounds(self) -> list[float]:
        medians = []
        for index in range(ROUNDS):
            report = self.worker.turn(RoundRequest(index, MIN_CALLS, MIN_TIME_S, MAX_TIME_S))
            if report is None:  # it has died; the conversions are measured all the same
                return []
            medians.append(report.median_ms)
        return medians
