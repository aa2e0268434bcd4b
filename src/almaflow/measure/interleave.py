"""Gives workers their turns until each has the rounds that were asked for.

The stop rule, per conversion: the minimum count and the minimum time, then on until the 95% interval of the median is
as narrow as ``rel_precision`` asks, or ``max_time_s`` of timed calls or ``MAXIMUM_ROUNDS`` are over. It is that of
``adaptive_autorange`` in ``torch.utils.benchmark``, with the criterion of Georges, Buytaert and Eeckhout
("Statistically Rigorous Java Performance Evaluation", OOPSLA 2007, section 3.2) and an interval that assumes no
normality. Workers take turns, not calls: the threads of one runtime still spin when the next one's call begins in the
same process.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from almaflow.records import MachineState
from almaflow.records.protocol import MINIMUM_ROUNDS, round_request
from almaflow.stats import is_settled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from almaflow.machine.monitor import StateWatch
    from almaflow.processes.worker_handle import WorkerHandle
    from almaflow.records import MeasureSpec
    from almaflow.records.protocol import RoundReport

GAP_S = 0.02
"""Pause between two workers' turns: threads that spin for more work have gone to sleep by then."""

MAXIMUM_ROUNDS = 100
"""Most rounds of one process. What lies between rounds of very short calls takes longer than the rounds, and without a
limit it would go on for hours."""


@dataclass
class MeasuredWorker:
    """One worker, what its rounds gave so far, and the state of the machine during each."""

    handle: WorkerHandle
    spec: MeasureSpec
    gap_s: float = GAP_S
    reports: list[RoundReport] = field(default_factory=list)
    states: list[MachineState | None] = field(default_factory=list)
    ended: bool = False

    def begin(self) -> bool:
        """Wait until the worker is warm and has brought its first round; False where it ended instead."""
        self.ended = not self.handle.until_ready()
        if not self.ended and self.handle.report:
            stops_s = self.handle.stops_s
            self.reports.append(_without(self.handle.report, stops_s))
            self.states.append(MachineState(stops_s=stops_s) if stops_s else None)
        return not self.ended

    def take(self, index: int, monitor: StateWatch) -> None:
        """Let the worker take a round, which is short where it needs no more itself."""
        time.sleep(self.gap_s)
        began = time.perf_counter()
        monitor.begin(self.handle.process.pid)
        report = self.handle.turn(round_request(self.spec, index, short=self.done))
        stops_s = self.handle.stops_s
        self.states.append(replace(monitor.end(), watched_s=time.perf_counter() - began, stops_s=stops_s))
        if report is None:
            self.ended = True
        else:
            self.reports.append(_without(report, stops_s))

    @property
    def done(self) -> bool:
        """Whether it needs no further round, or can take none."""
        return self.spent or settled(self.spec, self.reports)

    @property
    def spent(self) -> bool:
        """Whether it has ended, or used its time."""
        used = _timed_s(self.reports) >= self.spec.max_time_s or len(self.reports) >= MAXIMUM_ROUNDS
        return self.ended or used


def settled(spec: MeasureSpec, reports: Sequence[RoundReport]) -> bool:
    """Whether the rounds of one process have the count, the time and the precision that were asked for."""
    return (
        len(reports) >= MINIMUM_ROUNDS
        and sum(report.count for report in reports) >= spec.min_samples
        and _timed_s(reports) >= spec.min_time_s
        and is_settled([report.median_ms for report in reports], spec.rel_precision)
    )


def _without(report: RoundReport, stops_s: Sequence[float]) -> RoundReport:
    """The report without the stops that are in the round's time: nothing was timed meanwhile."""
    stopped_s = sum(stop_s for stop_s in stops_s if stop_s < report.wall_s)
    return replace(report, wall_s=max(0.0, report.wall_s - stopped_s))


def _timed_s(reports: Sequence[RoundReport]) -> float:
    return sum(report.wall_s for report in reports)


def take_rounds(
    everybody: Sequence[MeasuredWorker],
    anchors: Sequence[MeasuredWorker],
    first_round: int,
    monitor: StateWatch,
    show: Callable[[str, int, int, int], None],
) -> int:
    """Give turns until no worker needs any more; returns the number after the last round.

    A worker that needs no more goes on as long as others do and it has time, with fewer calls a round. So all were
    timed under the same conditions, and their medians can be ranked. A worker that settled early, while the machine was
    fast, would win otherwise.

    Args:
        everybody: All workers that are measured now.
        anchors: The workers among them that the others are compared with; they take part to the end.
        first_round: The number of the first round, at least 1; neighbours share their number.
        monitor: Looks at the machine meanwhile.
        show: Is called before each turn with the conversion's name, the number of the round, how many workers need no
            more, and how many there are.
    """
    number = first_round
    while any(not each.done for each in everybody):
        # There and back: what changes steadily weighs on all alike.
        for each in everybody if number % 2 else reversed(everybody):
            if not each.ended and (each in anchors or not each.spent):
                conversion = each.handle.task.conversion
                name = conversion.name if conversion else ""
                show(name, number - first_round + 1, sum(other.done for other in everybody), len(everybody))
                each.take(number, monitor)
        number += 1
    return number
