"""A fleet of this machine alone: its orders are run one after the other, by the program that every machine has."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.errors import AlmaflowError, UsageError
from almaflow.fleet import this_machine
from almaflow.fleet.spool import ACCEPTED, CANCELLED, DIED, DONE, RUNNING, Spool
from almaflow.machine.identity import machine_id
from almaflow.records.clock import now
from almaflow.records.order import OrderEvent, OrderState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from almaflow.fleet.spool import SpoolState
    from almaflow.records.order import FleetMachine, Order

GRANTS = 3
"""Times that an order is begun, where its program dies without a word."""

POLL_S = 0.25
"""Reading a small file takes nothing from what is measured."""

_STATES = {DONE: OrderState.done, CANCELLED: OrderState.cancelled}


class LocalEngine:
    """Runs orders on this machine. They go on where this process ends; another one finds them in the spool."""

    def __init__(self, root: Path | None = None) -> None:
        """Start nothing yet.

        Args:
            root: The spool; by default the one in almaflow's home.
        """
        self._spool = Spool(root or machine.home() / "fleet" / "spool")
        self._machine = machine_id()
        self._waiting: list[str] = []
        self._read: dict[str, int] = {}
        """Orders that began, and how far their events are read."""
        self._news: list[OrderEvent] = []

    def machines(self) -> Sequence[FleetMachine]:
        """Return this machine."""
        return [this_machine.describe()]

    def submit(self, order: Order, files: Mapping[str, Path]) -> None:
        """Accept an order, or take up one that lies in the spool.

        Raises:
            UsageError: this machine is not the one that the order asks for.
        """
        is_known = order.order_id in self._spool.orders()
        if not is_known:
            _check(order)
            self._spool.accept(order)  # before its files come: those that no order needs may be removed
        for sha256 in self._spool.lacks(order):
            with files[sha256].open("rb") as stream:
                self._spool.put_blob(sha256, stream)
        if is_known:
            self._take_up(order.order_id)
            return
        self._waiting.append(order.order_id)
        self._news.append(self._event(order.order_id, OrderState.queued, order.epoch, place=len(self._waiting)))

    def events(self, timeout_s: float) -> Sequence[OrderEvent]:
        """Return what became known, and begin the next order where none runs."""
        deadline = time.monotonic() + timeout_s
        while not (news := self._look()) and (left_s := deadline - time.monotonic()) > 0:
            time.sleep(min(POLL_S, left_s))
        return news

    def states(self, order_ids: Sequence[str]) -> Mapping[str, OrderEvent]:
        """Return how far those orders are that lie in the spool."""
        return {each: self._state(each) for each in order_ids if each in self._spool.orders()}

    def fetch(self, order_id: str, into: Path) -> None:
        """Copy the directory of an order's job.

        Raises:
            AlmaflowError: there is none.
        """
        if not self._spool.measured(order_id):
            message = f"order {order_id} has no result on this machine"
            raise AlmaflowError(message)
        shutil.copytree(self._spool.directory(order_id) / "job", into)

    def recorded(self, order_id: str) -> None:
        """Remove an order from the spool."""
        self._spool.remove(order_id)

    def cancel(self, order_id: str) -> None:
        """Interrupt an order, or take it from the queue."""
        if order_id in self._spool.orders():
            self._spool.cancel(order_id)
        if order_id in self._waiting:
            self._waiting.remove(order_id)
            self._read[order_id] = 0

    def close(self) -> None:
        """Let orders go on."""

    def _take_up(self, order_id: str) -> None:
        """Go on with an order of an earlier process."""
        if order_id in self._read or order_id in self._waiting:
            return
        if self._spool.state(order_id).state == ACCEPTED:
            self._waiting.append(order_id)
        else:
            self._read[order_id] = 0

    def _look(self) -> list[OrderEvent]:
        """Return what became known since the last look."""
        news, self._news = self._news, []
        for order_id in [*self._read]:
            state = self._spool.state(order_id)  # first: it is written after the last event
            events, self._read[order_id] = self._spool.events(order_id, self._read[order_id])
            news += events
            if state.state == DIED:
                news += self._died(order_id, state)
            elif state.state not in {ACCEPTED, RUNNING}:
                del self._read[order_id]
                news.append(self._ended(order_id, state))
        if self._waiting and not self._is_busy():
            news.append(self._start(self._waiting.pop(0)))
        return news

    def _is_busy(self) -> bool:
        """Whether an order runs, also one of another process, which may remove it between two looks."""
        for order_id in self._spool.orders():
            with suppress(FileNotFoundError):
                if self._spool.state(order_id).state == RUNNING:
                    return True
        return False

    def _start(self, order_id: str) -> OrderEvent:
        self._spool.start(order_id, cwd=Path.cwd())
        self._read[order_id] = 0
        return self._event(order_id, OrderState.started, self._spool.order(order_id).epoch)

    def _died(self, order_id: str, state: SpoolState) -> list[OrderEvent]:
        """Begin an order again whose program was killed; after the last attempt, what it measured is its result."""
        del self._read[order_id]
        if state.epoch < GRANTS:
            self._spool.accept(replace(self._spool.order(order_id), epoch=state.epoch + 1))
            self._waiting.insert(0, order_id)
            return [self._event(order_id, OrderState.lost, state.epoch, line=state.line)]
        return [self._ended(order_id, state)]

    def _ended(self, order_id: str, state: SpoolState) -> OrderEvent:
        if state.state == DIED:
            ended = OrderState.done if self._spool.measured(order_id) else OrderState.failed
        else:
            ended = _STATES.get(state.state, OrderState.failed)
        return self._event(order_id, ended, state.epoch, line=state.line, code=state.code)

    def _state(self, order_id: str) -> OrderEvent:
        state = self._spool.state(order_id)
        if state.state == ACCEPTED:
            return self._event(order_id, OrderState.queued, state.epoch)
        if state.state == RUNNING:
            return self._event(order_id, OrderState.running, state.epoch)
        if state.state == DIED and state.epoch < GRANTS:  # whoever submits it begins it again
            return self._event(order_id, OrderState.lost, state.epoch, line=state.line)
        return self._ended(order_id, state)

    def _event(self, order_id: str, state: OrderState, epoch: int, **more: object) -> OrderEvent:
        return OrderEvent(order_id, state, now(), epoch, self._machine, **more)  # type: ignore[arg-type]


def _check(order: Order) -> None:
    """Refuse an order that is meant for another machine.

    Raises:
        UsageError: it names another machine, or a hardware config that this one does not match.
    """
    if order.machine_id not in {None, machine_id()}:
        message = f"fleet.machine={order.machine_id}: with fleet=local the only machine is this one, {machine_id()}"
        raise UsageError(message)
    if order.kind is None:
        return
    reason = this_machine.obstacles().get(order.kind, "there is no hardware config of this name")
    if reason:
        message = f"hardware={order.kind}: with fleet=local the only machine is this one, and {reason}"
        raise UsageError(message)
