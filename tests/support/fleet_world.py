"""Machines, orders and coordinators around a broker, for tests: each may fail, and the broker may be replaced."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from almaflow.errors import UsageError
from almaflow.fleet.broker import Broker
from almaflow.fleet.entries import Held
from almaflow.records.order import FleetMachine, MachineEnvironment, Order, OrderState

if TYPE_CHECKING:
    from almaflow.fleet.entries import Grant, Reply

LOST_S = 90.0


def made_machine(machine_id: str, *kinds: str, environments: dict[str, str] | None = None) -> FleetMachine:
    """A machine; ``environments``: versions of torch by name."""
    named = {"default": "2.14.1"} if environments is None else environments
    made = tuple(MachineEnvironment(name, "/python", {"torch": version}) for name, version in named.items())
    return FleetMachine(machine_id, kinds, 2, 8.0, "a processor", "0.1.0", made)


def made_order(
    number: int, user: str = "ann", kind: str | None = "small", *, machine_id: str | None = None,
    environment: str | None = None, expected_s: float | None = None,
) -> Order:  # fmt: skip
    """An order."""
    return Order(
        f"order-{number}",
        user,
        kind,
        {},
        number=number,
        machine_id=machine_id,
        environment=environment,
        expected_s=expected_s,
    )


@dataclass
class WorldMachine:
    """A machine with its disk and its cable."""

    machine: FleetMachine
    spool: dict[str, Held] = field(default_factory=dict)
    is_on: bool = True
    is_connected: bool = True

    @property
    def is_reachable(self) -> bool:
        return self.is_on and self.is_connected

    @property
    def running(self) -> str | None:
        return next((name for name, held in self.spool.items() if held.state is OrderState.running), None)

    def become(self, order_id: str, state: OrderState, code: int | None = None) -> None:
        self.spool[order_id] = replace(self.spool[order_id], state=state, code=code)


@dataclass
class Coordinated:
    """An order as its coordinator's disk has it."""

    order: Order
    epoch: int = 0
    recorded_of: str | None = None
    end: OrderState | None = None

    @property
    def is_open(self) -> bool:
        return self.recorded_of is None and self.end is None


class FleetWorld:
    """Everything around a broker; what a real one cannot do, this one cannot do either."""

    def __init__(self, machines: list[FleetMachine], quota: int | None = None) -> None:
        self.quota, self.now = quota, 0.0
        self.broker = Broker(0.0, quota=quota, lost_s=LOST_S, grace_s=0.0)
        self.machines = {each.machine_id: WorldMachine(each) for each in machines}
        self.orders: dict[str, Coordinated] = {}
        self.undelivered: list[Grant] = []
        self.granted: list[Grant] = []
        self.recorded: list[str] = []
        self.has_told = True  # whether coordinators have told a new broker of their orders
        for each in self.machines.values():
            self.beat(each)

    def settle(self) -> None:
        for grant in self.broker.settle(self.now):
            self.undelivered.append(grant)
            self.granted.append(grant)
        for order_id, mine in self.orders.items():
            entry = self.broker.orders.get(order_id)
            if entry and entry.end is not OrderState.done and not entry.is_given_up:
                mine.end = mine.end or entry.end
        self.check()

    def submit(self, order: Order) -> None:
        self.broker.submit(order, self.now)
        self.orders[order.order_id] = Coordinated(order)
        self.settle()

    def deliver(self, grant: Grant) -> None:
        """Send an order to its machine: nothing where it cannot be reached, is busy, or knows a newer epoch."""
        self.undelivered.remove(grant)
        mine, machine = self.orders[grant.order_id], self.machines[grant.machine_id]
        mine.epoch = max(mine.epoch, grant.epoch)
        held = machine.spool.get(grant.order_id)
        if machine.is_reachable and machine.running is None and (held is None or held.order.epoch < grant.epoch):
            order = replace(mine.order, epoch=grant.epoch)
            machine.spool[grant.order_id] = Held(order, OrderState.running)
            self.beat(machine)

    def beat(self, machine: WorldMachine) -> None:
        if not machine.is_reachable:
            return
        machine_id, held = machine.machine.machine_id, tuple(machine.spool.values())
        try:
            reply = self.broker.beat(machine_id, machine_id, held, self.now)
        except UsageError:
            reply = self.broker.join(machine.machine, machine_id, held, self.now)
        if self._obey(machine, reply):
            self.broker.beat(machine_id, machine_id, tuple(machine.spool.values()), self.now)
        self.settle()

    def _obey(self, machine: WorldMachine, reply: Reply) -> bool:
        for order_id in reply.stop:
            machine.become(order_id, OrderState.cancelled)
        for order_id in (*reply.remove, *reply.superseded):
            del machine.spool[order_id]
        return bool(reply.stop or reply.remove or reply.superseded)

    def beat_all(self) -> None:
        for each in self.machines.values():
            self.beat(each)

    def fetch(self, order_id: str) -> None:
        """Let the coordinator record what the broker says is done, as one that has no result of it yet."""
        mine, entry = self.orders[order_id], self.broker.orders.get(order_id)
        holder = next(iter(entry.results), None) if entry else None
        if not mine.is_open or holder is None or not self.machines[holder].is_reachable:
            return
        held = self.machines[holder].spool.get(order_id)
        if held is None:  # its disk was wiped, and it has not told yet
            return
        assert held.state in {OrderState.done, OrderState.cancelled}
        mine.recorded_of = holder
        self.recorded.append(order_id)
        self.broker.recorded(order_id, holder)
        self.settle()

    def pull_or_plug(self, machine_id: str) -> None:
        self.machines[machine_id].is_connected ^= True

    def switch(self, machine_id: str) -> None:
        """Switch a machine off or on; what it ran is lost."""
        machine = self.machines[machine_id]
        machine.is_on ^= True
        if machine.running:
            machine.become(machine.running, OrderState.failed)

    def wipe(self, machine_id: str) -> None:
        self.machines[machine_id].spool.clear()

    def drain_or_not(self, machine_id: str) -> None:
        if machine := self.broker.machines.get(machine_id):
            self.broker.drain(machine_id, is_drained=not machine.is_drained)
            self.settle()

    def leave(self, machine_id: str) -> None:
        if machine_id in self.broker.machines:
            self.broker.leave(machine_id)
            self.settle()

    def replace_broker(self, _: str = "") -> None:
        """Begin with an empty broker, to which everybody tells what they have."""
        self.broker = Broker(self.now, quota=self.quota, lost_s=LOST_S, grace_s=1.0)
        self.undelivered.clear()
        self.has_told = False
        self.beat_all()
        for mine in self.orders.values():
            if mine.is_open:
                self.broker.submit(replace(mine.order, epoch=max(mine.epoch, 1)), self.now, is_known=True)
        self.now += 1.0
        self.has_told = True
        self.settle()

    def finish(self) -> None:
        """Put everything right, and work until no order is open that can end."""
        for machine in self.machines.values():
            machine.is_on = machine.is_connected = True
            self.beat(machine)
            self.broker.drain(machine.machine.machine_id, is_drained=False)
        for _ in range(3 * len(self.orders) + 3):
            if not any(mine.is_open for mine in self.orders.values()):
                return
            self.now += LOST_S / 2
            self.beat_all()
            for grant in tuple(self.undelivered):
                self.deliver(grant)
            for machine in self.machines.values():
                if machine.running:
                    machine.become(machine.running, OrderState.done)
            self.beat_all()
            for order_id in self.orders:
                self.fetch(order_id)
            self.beat_all()

    def check(self) -> None:
        """Hold the broker against what must always be true."""
        broker = self.broker
        leased = {name: each.machine_id for name, each in broker.orders.items() if each.machine_id is not None}
        assert {each: machine_id for machine_id, m in broker.machines.items() if (each := m.order_id)} == leased
        assert len(set(leased.values())) == len(leased)
        holding = Counter(broker.orders[name].order.user for name in leased)
        assert +broker._holding == holding
        assert self.quota is None or max(holding.values(), default=0) <= self.quota
        assert max(Counter(self.recorded).values(), default=0) <= 1
        for order_id, mine in self.orders.items() if self.has_told else ():
            entry = broker.orders.get(order_id)
            if not mine.is_open:
                assert entry is None or not entry.is_submitted or entry.end is not None
                continue
            assert entry is not None
            places = [
                order_id in broker.turns,
                entry.machine_id is not None,
                bool(entry.results),
                entry.end is not None,
            ]
            assert any(places), "an order is forgotten"
            assert sum(places[:3]) <= 1
        for machine_id, machine in broker.machines.items():
            assert (machine_id in broker._idle.of(None)) == machine.is_idle
            if machine.is_idle and self.now >= broker._ready_at:
                assert broker.turns.next_for(machine.machine, broker._may_hold) is None, "an idle machine has work"
