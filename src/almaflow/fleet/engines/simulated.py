"""A fleet in virtual time: the broker as it is, and machines that only take time.

It tells how long orders would take on a fleet that is not there. ``benchmarks/fleet_simulation.py`` adds machines that
fail, to see what the broker does then.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING

from almaflow.errors import UsageError
from almaflow.fleet.broker import Broker
from almaflow.fleet.entries import Held
from almaflow.records.order import OrderState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from almaflow.records.order import FleetMachine, Order

DELIVERY_S = 0.5
"""Seconds until a machine has an order that was granted, and a coordinator a result."""


@dataclass(frozen=True)
class SimulatedResult:
    """The result of an order that was recorded."""

    order: Order
    """The order under the epoch of the result."""
    machine_id: str
    started_at: float
    """Seconds of virtual time, as ``ended_at``."""
    ended_at: float


@dataclass
class SimulatedMachine:
    """A machine with its disk."""

    machine: FleetMachine
    spool: dict[str, Held] = field(default_factory=dict)
    started_at: dict[str, float] = field(default_factory=dict)
    """When it began each order that it has or had."""
    ended_at: dict[str, float] = field(default_factory=dict)
    starts: int = 0
    """Number of orders that it began; what a later one has replaced does not end any more."""
    is_reachable: bool = True

    @property
    def is_busy(self) -> bool:
        """Whether it runs an order."""
        return any(each.state is OrderState.running for each in self.spool.values())


class SimulatedFleet:
    """Runs orders to their end. Time is in seconds from 0 on."""

    def __init__(
        self,
        machines: Sequence[FleetMachine],
        duration_s: Callable[[Order, FleetMachine], float],
        broker: Broker | None = None,
    ) -> None:
        """Switch the machines on.

        Args:
            machines: What they are.
            duration_s: The seconds that an order takes on a machine.
            broker: Whoever decides; None: one without quotas.
        """
        self.machines = {each.machine_id: SimulatedMachine(each) for each in machines}
        self.broker = broker or Broker(0.0, grace_s=0.0)
        self.now = 0.0
        self.unfinished: dict[str, Order] = {}
        """Orders without a recorded result, by their IDs."""
        self.results: dict[str, SimulatedResult] = {}
        self._duration_s = duration_s
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        for machine in self.machines.values():
            self.broker.join(machine.machine, "", (), 0.0)

    def at(self, moment_s: float, event: Callable[[], None]) -> None:
        """Let something happen at a time; what is due at the same time happens in the order of these calls."""
        heapq.heappush(self._events, (moment_s, next(self._numbers), event))

    def submit(self, order: Order, at_s: float = 0.0) -> None:
        """Submit an order at a time."""
        self.unfinished[order.order_id] = order
        self.at(at_s, lambda: self.broker.submit(order, self.now))

    def run(self) -> None:
        """Run until every order has a result.

        Raises:
            UsageError: no machine may run an order.
        """
        while self.unfinished:
            if not self._events:
                message = f"{len(self.unfinished)} orders find no machine that may run them"
                raise UsageError(message)
            self.step()

    def step(self) -> None:
        """Let the next thing happen, and the broker decide."""
        self.now, _, event = heapq.heappop(self._events)
        event()
        for grant in self.broker.settle(self.now):
            order = replace(self.broker.orders[grant.order_id].order, epoch=grant.epoch)
            self.send(order, self.machines[grant.machine_id])

    def send(self, order: Order, machine: SimulatedMachine) -> None:
        """Send an order to its machine."""
        self.at(self.now + DELIVERY_S, lambda: self.accept(order, machine))

    def accept(self, order: Order, machine: SimulatedMachine) -> None:
        """Let a machine begin an order."""
        machine.spool[order.order_id] = Held(order, OrderState.running)
        machine.started_at[order.order_id] = self.now
        machine.starts += 1
        start = machine.starts
        self.at(self.now + self._duration_s(order, machine.machine), lambda: self.end(order, machine, start))
        self.beat(machine)

    def end(self, order: Order, machine: SimulatedMachine, start: int) -> None:
        """Let a machine end an order, unless it does not run it any more."""
        held = machine.spool.get(order.order_id)
        if machine.starts == start and held and held.state is OrderState.running:
            machine.ended_at[order.order_id] = self.now
            machine.spool[order.order_id] = Held(order, OrderState.done)
            self.beat(machine)

    def beat(self, machine: SimulatedMachine) -> None:
        """Let a machine tell what it has, and do what it is told; nothing where it cannot be reached."""
        if not machine.is_reachable:
            return
        reply = self.broker.beat(machine.machine.machine_id, "", tuple(machine.spool.values()), self.now)
        for order_id in reply.stop:
            machine.spool[order_id] = replace(machine.spool[order_id], state=OrderState.cancelled)
            self.at(self.now, lambda: self.beat(machine))
        for order_id in (*reply.remove, *reply.superseded):
            del machine.spool[order_id]
        if any(held.state is OrderState.done for held in machine.spool.values()):
            self.at(self.now + DELIVERY_S, lambda: self.fetch(machine))

    def fetch(self, machine: SimulatedMachine) -> None:
        """Let the coordinators of a machine's results record those that have none; nothing where it is out of reach."""
        done = [each.order for each in machine.spool.values() if each.state is OrderState.done]
        for order in done if machine.is_reachable else ():
            if order.order_id not in self.results:
                self.unfinished.pop(order.order_id, None)
                machine_id = machine.machine.machine_id
                span = machine.started_at[order.order_id], machine.ended_at[order.order_id]
                self.results[order.order_id] = SimulatedResult(order, machine_id, *span)
            self.broker.recorded(order.order_id, self.results[order.order_id].machine_id)
        if done:
            self.beat(machine)
