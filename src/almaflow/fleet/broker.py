"""The broker decides which order gets which machine: a state machine without input, output or clock.

Time is an argument, and the same calls give the same decisions. The broker keeps no journal. Coordinators hold their
orders and machines hold their spools, so one that died is rebuilt: both tell a new one what they have. Every report may
be repeated.

A grant is a lease with an epoch, for one order. It is void when its machine is not heard of for ``lost_s``, and the
order waits again. A result counts whenever it comes and under whatever epoch: the first one wins.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from almaflow.errors import UsageError
from almaflow.fleet.entries import RUNS, Grant, Held, IdleMachines, MachineEntry, OrderEntry, Reply
from almaflow.fleet.matching import check_offered
from almaflow.fleet.turns import Turns
from almaflow.records.order import OrderState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from almaflow.fleet.turns import Kind
    from almaflow.records.order import FleetMachine, Order

LOST_S = 90.0
"""A machine that is not heard of for so many seconds has lost its lease. Ray itself takes 62 s to tell."""
ATTEMPTS = 3
"""Number of grants of one order before it is given up."""
GRACE_S = 15.0
"""Seconds in which a new broker grants nothing: machines beat every 10 s, and tell it what they run already."""


class Broker:
    """Grants machines to orders. Call ``settle`` after other calls, and every few seconds."""

    def __init__(
        self, now: float, *, quota: int | None = None, lost_s: float = LOST_S, attempts: int = ATTEMPTS,
        grace_s: float = GRACE_S,
    ) -> None:  # fmt: skip
        """Begin without machines and orders.

        Args:
            now: Seconds from any origin, in this call and all others; they never go back.
            quota: The most machines that a user may hold at once; None: no limit.
            lost_s: Seconds of silence after which a machine's lease is void.
            attempts: The most grants of one order.
            grace_s: Seconds from now on in which nothing is granted, since machines may have orders already.
        """
        self.machines: dict[str, MachineEntry] = {}
        self.orders: dict[str, OrderEntry] = {}
        self.quotas: dict[str, int] = {}  # of single users, instead of the common one
        self.turns = Turns()
        self._quota, self._lost_s, self._attempts = quota, lost_s, attempts
        self._ready_at = now + grace_s
        self._holding: Counter[str] = Counter()
        self._idle = IdleMachines()
        self._heard: OrderedDict[str, None] = OrderedDict()  # machines by when they were heard of, without lost ones
        self._unaccepted: dict[str, float] = {}  # when these orders were granted, the oldest first
        self._stirred: dict[Kind, None] = {}  # kinds of which a grant may have become possible

    def join(self, machine: FleetMachine, instance: str, held: Sequence[Held], now: float) -> Reply:
        """Take a machine into the fleet, or one again that was there.

        Args:
            machine: What it is.
            instance: A name that it keeps while it is on, and that a copy of it does not have.
            held: All orders of its spool.
            now: The time.

        Raises:
            UsageError: another machine of this ID is in the fleet.
        """
        entry = self.machines.setdefault(machine.machine_id, MachineEntry(machine, instance, now))
        if entry.instance != instance and not entry.is_lost and now - entry.heard_at <= self._lost_s:
            message = (
                f"another machine of the ID {machine.machine_id} is in the fleet: two machines may not share a home; "
                f"where it is this one before a restart, join again in {self._lost_s:.0f} s"
            )
            raise UsageError(message)
        self._idle.remove(entry)
        entry.machine, entry.instance = machine, instance
        return self.beat(machine.machine_id, instance, held, now)

    def beat(self, machine_id: str, instance: str, held: Sequence[Held], now: float) -> Reply:
        """Take note that a machine is there and of its whole spool, and tell it what to do with that.

        Raises:
            UsageError: the broker does not know it, as a new one does not: the machine has to join again.
        """
        machine = self.machines.get(machine_id)
        if machine is None or machine.instance != instance:
            message = f"the fleet does not know the machine {machine_id}: join it again"
            raise UsageError(message)
        machine.heard_at, machine.is_lost = now, False
        self._heard[machine_id] = None
        self._heard.move_to_end(machine_id)
        machine.running = frozenset(each.order.order_id for each in held if each.state in RUNS)
        reply: dict[str, list[str]] = {"stop": [], "remove": [], "superseded": []}
        for each in held:
            if advice := self._report(machine, each, now):
                reply[advice].append(each.order.order_id)
        self._take_back(machine, {each.order.order_id for each in held})
        self._now_idle(machine)
        return Reply(**{name: tuple(ids) for name, ids in reply.items()})

    def _report(self, machine: MachineEntry, held: Held, now: float) -> str | None:
        """Take note of one order of a spool, and return what the machine has to do with it."""
        machine_id = machine.machine.machine_id
        entry = self._order(held.order)
        entry.epoch = max(entry.epoch, held.order.epoch)
        has_lease = entry.machine_id == machine_id
        if held.state in RUNS:
            if has_lease:
                entry.leased_epoch = held.order.epoch
            elif machine.order_id is None and entry.may_be_leased and self._may_hold(entry.order.user):
                self._lease(entry, machine, held.order.epoch, now)
            else:
                return "stop"
            entry.is_accepted = True
            self._unaccepted.pop(held.order.order_id, None)
        elif entry.recorded_of is not None:
            return "remove" if entry.recorded_of == machine_id else "superseded"
        elif held.is_part and not has_lease and (entry.machine_id or held.order.order_id in self.turns):
            return None  # it was told to stop, and another machine measures all of it, or will
        elif held.state is OrderState.done or entry.end is OrderState.cancelled:
            self._finish(entry, machine, held.order.epoch)
        elif has_lease and entry.leased_epoch == held.order.epoch:
            if held.code is None and held.state is OrderState.failed:
                self._void(entry, held.line or "it ended without a word")
            else:
                self._end(entry, held.state, held.line, held.code)
        return None

    def _take_back(self, machine: MachineEntry, spooled: AbstractSet[str]) -> None:
        """Let orders wait again that the machine had by its own account, and has no more or cannot be asked for."""
        leased = self.orders[machine.order_id] if machine.order_id else None
        if leased and leased.is_accepted and leased.order.order_id not in spooled:
            self._void(leased, "its machine is gone, or has lost it")
        for order_id in sorted(machine.results.difference(spooled)):
            machine.results.discard(order_id)
            entry = self.orders[order_id]
            entry.results.pop(machine.machine.machine_id, None)
            if entry.is_waiting:
                self._void(entry, "the machine with its result is gone, or has lost it")

    def drain(self, machine_id: str, *, is_drained: bool = True) -> None:
        """Grant the machine to nobody from now on, or again.

        Raises:
            UsageError: there is no such machine.
        """
        machine = self._machine(machine_id)
        machine.is_drained = is_drained
        self._now_idle(machine)

    def leave(self, machine_id: str) -> None:
        """Take the machine out of the fleet; the order that it has waits again.

        Raises:
            UsageError: there is no such machine.
        """
        self._lose(self._machine(machine_id))
        del self.machines[machine_id]

    def _lose(self, machine: MachineEntry) -> None:
        machine.is_lost, machine.running = True, frozenset()
        self._heard.pop(machine.machine.machine_id, None)
        self._idle.remove(machine)
        if machine.order_id:
            self._void(self.orders[machine.order_id], "its machine is gone")
        self._take_back(machine, frozenset())

    def submit(self, order: Order, now: float, *, is_known: bool = False) -> None:
        """Let an order wait for a machine, unless it does already or did.

        Args:
            order: The order; an epoch above 1 is that of the last grant that its coordinator knows of.
            now: The time.
            is_known: Whether it was submitted before, to a broker that died: machines may be about to join this one.

        Raises:
            UsageError: no machine of the fleet may run it; the line says who offers what.
        """
        is_new = order.order_id not in self.orders and not is_known and order.epoch == 1
        if is_new and now >= self._ready_at:
            check_offered(order, [each.machine for each in self.machines.values()])
        entry = self._order(order)
        entry.order, entry.is_submitted = order, True  # what a machine told of it has no configuration
        entry.epoch = max(entry.epoch, order.epoch if order.epoch > 1 else 0)
        if entry.is_waiting and order.order_id not in self.turns:
            self._wait(entry)

    def cancel(self, order_id: str) -> None:
        """End an order, wherever it is; what was measured can still be fetched."""
        entry = self.orders.get(order_id)
        if entry and entry.end is None and not entry.results:
            self._end(entry, OrderState.cancelled)

    def recorded(self, order_id: str, machine_id: str | None = None) -> None:
        """Note that a result of an order is recorded: by default the first one."""
        entry = self.orders.get(order_id)
        if entry and entry.recorded_of is None:
            entry.recorded_of = machine_id or next(iter(entry.results), "")
            self._end(entry, entry.end if entry.end is OrderState.cancelled else OrderState.done)

    def settle(self, now: float) -> tuple[Grant, ...]:
        """Void the leases that are over, and grant what can be granted."""
        while (oldest := next(iter(self._heard), None)) and now - self.machines[oldest].heard_at > self._lost_s:
            self._lose(self.machines[oldest])
        while (first := next(iter(self._unaccepted), None)) and now - self._unaccepted[first] > self._lost_s:
            self._void(self.orders[first], "its machine did not take it")
        if now < self._ready_at:
            return ()
        grants = []
        while self._stirred:
            kind = next(iter(self._stirred))
            del self._stirred[kind]
            for machine_id in self._idle.of(kind) if len(self.turns) else ():
                machine = self.machines[machine_id]
                order = self.turns.next_for(machine.machine, self._may_hold)
                if order:
                    entry = self.orders[order.order_id]
                    self._lease(entry, machine, entry.epoch + 1, now)
                    self._unaccepted[order.order_id] = now
                    grants.append(Grant(order.order_id, machine_id, entry.epoch))
        return tuple(grants)

    def _may_hold(self, user: str) -> bool:
        quota = self.quotas.get(user, self._quota)
        return quota is None or self._holding[user] < quota

    def _lease(self, entry: OrderEntry, machine: MachineEntry, epoch: int, now: float) -> None:
        self.turns.grant(entry.order)
        entry.machine_id, entry.leased_epoch, entry.granted_at = machine.machine.machine_id, epoch, now
        entry.epoch, entry.is_accepted = max(entry.epoch, epoch), False
        entry.end, entry.line = None, ""
        machine.order_id = entry.order.order_id
        self._holding[entry.order.user] += 1
        self._idle.remove(machine)

    def _release(self, entry: OrderEntry) -> None:
        """End the lease of an order, if it has one."""
        self._unaccepted.pop(entry.order.order_id, None)
        if entry.machine_id is None:
            return
        machine, entry.machine_id, entry.is_accepted = self.machines[entry.machine_id], None, False
        machine.order_id = None
        self._holding[entry.order.user] -= 1
        self._now_idle(machine)
        self._stirred |= dict.fromkeys(self.turns.kinds_of(entry.order.user))  # within the quota again

    def _finish(self, entry: OrderEntry, machine: MachineEntry, epoch: int) -> None:
        """Take note of a result; it ends every other attempt."""
        entry.results.setdefault(machine.machine.machine_id, epoch)
        machine.results.add(entry.order.order_id)
        self._release(entry)
        self.turns.remove(entry.order)
        if entry.is_given_up:
            entry.end, entry.line = None, ""

    def _end(self, entry: OrderEntry, end: OrderState, line: str = "", code: int | None = None) -> None:
        self._release(entry)
        self.turns.remove(entry.order)
        entry.end, entry.line, entry.code = end, line, code

    def _void(self, entry: OrderEntry, reason: str) -> None:
        """End an attempt that has no result; the order waits again, but for the last attempt."""
        self._release(entry)
        if entry.epoch >= self._attempts:
            self._end(entry, OrderState.failed, f"given up after {self._attempts} attempts: {reason}")
        else:
            entry.line = reason
            self._wait(entry, first=True)

    def _wait(self, entry: OrderEntry, *, first: bool = False) -> None:
        if entry.is_submitted:  # else only a machine has told of it, and its coordinator has to
            self.turns.add(entry.order, first=first)
            self._stirred[entry.order.kind] = None

    def _now_idle(self, machine: MachineEntry) -> None:
        if machine.is_idle and self._idle.add(machine):
            self._stirred |= dict.fromkeys((*machine.machine.kinds, None))
        elif not machine.is_idle:
            self._idle.remove(machine)

    def _order(self, order: Order) -> OrderEntry:
        """Return the entry of an order, which a new broker may first hear of from a machine."""
        return self.orders.setdefault(order.order_id, OrderEntry(order, 0))

    def _machine(self, machine_id: str) -> MachineEntry:
        if machine_id not in self.machines:
            message = f"machine {machine_id}: no such machine is in the fleet; almaflow fleet list shows them"
            raise UsageError(message)
        return self.machines[machine_id]
