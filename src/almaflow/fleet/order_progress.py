"""The progress of an order on its machine: events in a file, which whoever waits elsewhere is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from almaflow.machine.identity import machine_id
from almaflow.measure.progress import Progress
from almaflow.records.clock import now
from almaflow.records.order import OrderEvent, OrderState
from almaflow.records.json_files import to_line
from almaflow.report.progress import result_text
from almaflow.secrets import mask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from almaflow.records import MeasureSpec, Outcome, PlannedConversion
    from almaflow.records.order import Order


class OrderProgress(Progress):
    """Appends an event for each phase, note and conversion that ended."""

    def __init__(self, place: Path, order: Order) -> None:
        """Write nothing yet."""
        self._file = place / "events.jsonl"
        self._order = order
        self._machine = machine_id()
        self._timing = False

    def start(
        self,
        plan: Sequence[PlannedConversion],
        measure: MeasureSpec | None = None,
        estimate_s: Mapping[str, float] | None = None,
    ) -> None:
        """Tell how many conversions are planned."""
        del measure, estimate_s
        self._tell(f"{len(plan)} conversion{'' if len(plan) == 1 else 's'} planned")

    def phase(self, name: str, phase: str) -> None:
        """Tell the phase of a conversion, or of the model."""
        if not self._timing:
            self._tell(phase, conversion=name)

    def turns(self, name: str, number: int, settled: int, total: int) -> None:
        """Tell once that rounds are taken: between them nothing is written."""
        del name, number, settled
        if not self._timing:
            self._timing = True
            self._tell(f"timing {total} in turns")

    def finish(self, outcome: Outcome) -> None:
        """Tell how a conversion ended."""
        took_s = outcome.measurement.total_s if outcome.measurement else outcome.ended_at - outcome.started_at
        finished = {"status": str(outcome.status), "failure": str(outcome.failure.kind) if outcome.failure else None}
        self._tell(result_text(outcome, took_s), conversion=outcome.planned.name, finished=finished)

    def note(self, text: str) -> None:
        """Tell a line."""
        self._tell(text)

    def warn(self, text: str) -> None:
        """Tell a warning."""
        self._tell(f"warning: {text}")

    def _tell(self, line: str, **more: Any) -> None:
        event = OrderEvent(
            self._order.order_id,
            OrderState.running,
            now(),
            self._order.epoch,
            self._machine,
            line=mask(line),
            **more,
        )
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(to_line(event))
