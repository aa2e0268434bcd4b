"""Tells of an order where it stands: its place in the queue, who has the machine, and about how long that takes."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import cached_property
from statistics import mean
from typing import TYPE_CHECKING

from almaflow.fleet.matching import suits
from almaflow.records.order import OrderEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from almaflow.fleet.broker import Broker
    from almaflow.fleet.entries import MachineEntry
    from almaflow.records.order import Order


def standings(broker: Broker, order_ids: Iterable[str], now: float) -> dict[str, OrderEvent]:
    """Return where each of the orders stands that the broker knows.

    A place is the one that equal machines would give within the kind. Quotas are left out of account.
    """
    known = {order_id: broker.orders[order_id] for order_id in order_ids if order_id in broker.orders}
    queues = {kind: list(broker.turns.in_turn(kind)) for kind in {entry.order.kind for entry in known.values()}}
    places = {order.order_id: place for queue in queues.values() for place, order in enumerate(queue, start=1)}
    outlook = _Outlook(broker, now)
    events = {}
    for order_id, entry in known.items():
        place = places.get(order_id)
        held_by, about_s = (None, None) if place is None else outlook.wait(queues[entry.order.kind][:place])
        machine_id = entry.machine_id or entry.recorded_of or next(iter(entry.results), None)
        events[order_id] = OrderEvent(
            order_id, entry.state, now, entry.epoch, machine_id, place, held_by, about_s, line=entry.line,
            code=entry.code,
        )  # fmt: skip
    return events


@dataclass(frozen=True)
class _Outlook:
    """Expectations of when machines are free."""

    broker: Broker
    now: float

    @cached_property
    def _typical_s(self) -> float | None:
        orders = (each.order.expected_s for each in self.broker.orders.values())
        known = [expected for expected in orders if expected is not None]
        return mean(known) if known else None

    def _expected_s(self, order: Order) -> float | None:
        """Return the seconds that an order may take: without an estimate of its own, those of a typical one."""
        return self._typical_s if order.expected_s is None else order.expected_s

    def _free_in_s(self, machine: MachineEntry) -> float | None:
        if machine.order_id is None:
            return 0.0
        entry = self.broker.orders[machine.order_id]
        expected = self._expected_s(entry.order)
        return None if expected is None else max(0.0, entry.granted_at + expected - self.now)

    def wait(self, queue: Sequence[Order]) -> tuple[str | None, float | None]:
        """Return who has the machine that is free first, and the seconds until the last order of the queue begins.

        Neither where nobody has one; no seconds where nobody knows what an order takes.
        """
        mine = queue[-1]
        machines = [
            each
            for each in self.broker.machines.values()
            if not (each.is_lost or each.is_drained) and suits(mine, each.machine)
        ]
        free = [(self._free_in_s(each), each.order_id) for each in machines]
        known = [(seconds, order_id) for seconds, order_id in free if seconds is not None]
        busy = [each for each in (known or free) if each[1] is not None]
        first = min(busy, key=lambda each: each[0] or 0.0, default=(None, None))[1]
        held_by = self.broker.orders[first].order.user if first else None
        took = [self._expected_s(order) for order in queue[:-1]]
        if not free or len(known) < len(free) or None in took:
            return held_by, None
        waits = [seconds for seconds, _ in known]
        heapq.heapify(waits)
        for seconds in took:
            heapq.heapreplace(waits, waits[0] + (seconds or 0.0))
        return held_by, waits[0]
