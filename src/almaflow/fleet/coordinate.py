"""Sends orders, follows them, and records their results. What this process knows is on its disk before it acts on it.

It may be killed at any moment: orders go on, and the next coordinator submits what has no result again, which changes
nothing where a fleet knows the order already.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from almaflow.errors import AlmaflowError, UsageError
from almaflow.fleet import orders
from almaflow.fleet.adopt import adopt, incoming, job_files, record
from almaflow.records.kept_order import Kept
from almaflow.records.order import INTERRUPTED, OrderState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from almaflow.fleet.engine import Engine
    from almaflow.records import Job
    from almaflow.records.kept_order import KeptOrder
    from almaflow.records.order import OrderEvent

LISTEN_S = 1.0
FETCH_TRIES, FETCH_WAIT_S = 5, 2.0
CANCEL_S = 60.0
"""Seconds that orders which were cancelled have to hand in what they measured."""


class Display(Protocol):
    """Shows what becomes known of orders."""

    def event(self, event: OrderEvent) -> None:
        """Show an event."""

    def note(self, order_id: str, line: str) -> None:
        """Show a line about an order that stays."""

    def close(self) -> None:
        """End; the lines that stay do so. May be called again."""


@dataclass(frozen=True)
class Ended:
    """How an order ended for its coordinator."""

    kept: KeptOrder
    job: Job | None = None
    """None where it has no result."""
    code: int = 0
    """Exit code for what is no matter of the job's conversions."""
    error: str | None = None


class Coordinator:
    """Follows orders to their ends."""

    def __init__(self, engine: Engine, display: Display, uris: Mapping[str, str] | None = None) -> None:
        """Send nothing yet.

        Args:
            engine: What carries the orders.
            display: Shows what becomes known of them.
            uris: URIs of their stores by the IDs of orders, where they have credentials that an order does not keep.
        """
        self._uris = uris or {}
        self._engine = engine
        self._display = display
        self._open: dict[str, KeptOrder] = {}
        self._cancelled = False

    def run(self, kept: Sequence[KeptOrder], files: Mapping[str, Path]) -> Iterator[Ended]:
        """Send orders and yield each as it ends; interrupted, cancel those under way and take what they measured.

        Args:
            kept: The orders; those that are known to the fleet already are only followed.
            files: The files of their blobs, by sha256.
        """
        for each in kept:
            orders.write(each)  # all of them, before the first is sent
        try:
            yield from self._sent(kept, files)
            while self._open:
                yield from self._heard()
        except KeyboardInterrupt:
            yield from self._interrupted()

    def _sent(self, kept: Sequence[KeptOrder], files: Mapping[str, Path]) -> Iterator[Ended]:
        for each in kept:
            if has_result(each):
                self._display.note(each.order.order_id, "nothing to measure: its result is here")
                yield self.take(each)
                continue
            order = replace(each.order, epoch=max(each.epoch, 1))
            try:
                self._open[order.order_id] = each
                self._engine.submit(order, files)
            except UsageError as error:
                del self._open[order.order_id]
                yield self._failed(each, error.exit_code, str(error))

    def _heard(self) -> Iterator[Ended]:
        for event in self._engine.events(LISTEN_S):
            if kept := self._open.get(event.order_id):
                self._display.event(event)
                kept = self._noted(kept, event)
                if ended := self.end_of(kept, event):
                    del self._open[event.order_id]
                    yield ended
            elif event.state is OrderState.superseded:
                _note_second(event)

    def _noted(self, kept: KeptOrder, event: OrderEvent) -> KeptOrder:
        """Keep which grant of the order was heard of, and which machine has it."""
        new = replace(kept, epoch=max(kept.epoch, event.epoch), machine_id=event.machine_id or kept.machine_id)
        if new != kept:
            orders.write(new)
            self._open[event.order_id] = new
        return new

    def end_of(self, kept: KeptOrder, event: OrderEvent) -> Ended | None:
        """Return the end of an order, if the event is one; its result is recorded by then."""
        match event.state:
            case OrderState.done:
                return self.take(kept)
            case OrderState.failed:
                return self._failed(kept, event.code or AlmaflowError.exit_code, event.line)
            case OrderState.cancelled:
                self._engine.recorded(kept.order.order_id)
                return self._failed(kept, INTERRUPTED, "it was cancelled", Kept.cancelled)
            case _:
                return None

    def take(self, kept: KeptOrder) -> Ended:
        """Fetch the result of an order that is done, and record it, unless it has one already.

        A result that cannot be fetched stays where it is, and the order open: ``almaflow fleet collect`` fetches it.
        """
        order_id = kept.order.order_id
        if not has_result(kept):
            for tries in range(FETCH_TRIES):
                try:
                    with incoming(kept) as place:
                        self._engine.fetch(order_id, place)
                        adopt(kept, place)
                    break
                except AlmaflowError as error:
                    if tries == FETCH_TRIES - 1:
                        line = f"{error}; its result stays there: `almaflow fleet collect` fetches it"
                        return Ended(kept, None, AlmaflowError.exit_code, line)
                    time.sleep(FETCH_WAIT_S)
        kept = replace(kept, state=Kept.recorded, order=replace(kept.order, past=()))  # a few hundred entries
        orders.write(kept)  # the job is in almaflow's home, whatever becomes of the store
        self._engine.recorded(order_id)
        job = record(kept, self._uris.get(order_id), lambda line: self._display.note(order_id, line))
        if job.interrupted:
            code = INTERRUPTED if self._cancelled else AlmaflowError.exit_code
            return Ended(kept, job, code, "it was interrupted before all was measured")
        return Ended(kept, job)

    def _failed(self, kept: KeptOrder, code: int, line: str, state: Kept = Kept.failed) -> Ended:
        kept = replace(kept, state=state, code=code, line=line)
        orders.write(kept)
        if state is Kept.failed:
            self._engine.recorded(kept.order.order_id)
        return Ended(kept, None, code, line)

    def _interrupted(self) -> Iterator[Ended]:
        """Cancel what is under way, and take what was measured by then; a second interrupt leaves it where it is."""
        self._cancelled = True
        for order_id, event in self._engine.states([*self._open]).items():  # told, and the interrupt came in between
            if ended := self.end_of(self._open[order_id], event):
                del self._open[order_id]
                yield ended
        for order_id in [*self._open]:
            self._engine.cancel(order_id)
        deadline = time.monotonic() + CANCEL_S
        while self._open and time.monotonic() < deadline:
            yield from self._heard()
        for kept in self._open.values():
            yield Ended(kept, None, INTERRUPTED, "its machine has not answered; `almaflow fleet collect` fetches it")


def collect(engine: Engine, display: Display, wanted: Sequence[KeptOrder]) -> Iterator[Ended | OrderEvent]:
    """Record the results of orders that are done, without sending any; yield each end, and the state of the others.

    Args:
        engine: The fleet that the orders were sent to.
        display: Shows what the store cannot take.
        wanted: Orders without a recorded result, as ``orders.outstanding`` gives them.
    """
    coordinator = Coordinator(engine, display)
    states = engine.states([each.order.order_id for each in wanted])
    for kept in wanted:
        if has_result(kept):  # it was killed just after it had taken it
            yield coordinator.take(kept)
        elif event := states.get(kept.order.order_id):
            yield coordinator.end_of(kept, event) or event


def has_result(kept: KeptOrder) -> bool:
    """Whether the job that comes of an order is in almaflow's home."""
    return (job_files(kept).root / "job.json").exists()


def _note_second(event: OrderEvent) -> None:
    """Keep which machine has a second result of an order that is recorded."""
    with suppress(FileNotFoundError):
        kept = orders.read(event.order_id)
        if event.machine_id and event.machine_id not in kept.superseded:
            orders.write(replace(kept, superseded=(*kept.superseded, event.machine_id)))
