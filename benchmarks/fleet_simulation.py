"""The fleet's broker with 1,000 machines and 10,000 orders that fail in every way, in virtual time.

Machines lose their power or their network, results come late, and the broker dies and is rebuilt from what machines
and coordinators tell. Asked are the seconds of real time, the time of a single decision, and whether what has to be
true always is: an order has at most one recorded result, a machine at most one lease, a user no more machines than the
quota, and no order is forgotten. Many small histories are checked after every event, the large one every 1,000 events.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from almaflow.errors import UsageError
from almaflow.fleet.broker import Broker
from almaflow.fleet.engines.simulated import DELIVERY_S, SimulatedFleet, SimulatedMachine
from almaflow.fleet.entries import Held
from almaflow.records.order import FleetMachine, Order, OrderState
from shared import BenchmarkError, make_parser, run_script, save, show

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.fleet.entries import Grant, Reply

BEAT_S, RETRY_S, LOOK_S = 10.0, 5.0, 60.0
HOUR_S = 3600.0
EVERY = 1000
GOAL_S, GOAL_P99_MS = 60.0, 1.0


@dataclass(frozen=True)
class Size:
    """How large a fleet is, and how often something fails."""

    machines: int
    kinds: int
    orders: int
    users: int
    quota: int | None
    trouble_every_s: float
    """Mean time between two failures of one machine, a power cut or a partition."""
    away_s: float
    broker_dies_every_s: float


LARGE = Size(1000, 20, 10_000, 50, 30, HOUR_S, 200.0, HOUR_S / 4)


class TimedBroker(Broker):
    """Notes what each call took."""

    took_s: list[float]

    def _timed(self, call: Callable[..., Any], *arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return call(*arguments)
        finally:
            self.took_s.append(time.perf_counter() - began)

    def beat(self, machine_id: str, instance: str, held: Any, now: float) -> Reply:
        """As the broker's."""
        return self._timed(super().beat, machine_id, instance, held, now)  # type: ignore[no-any-return]

    def submit(self, order: Order, now: float, *, is_known: bool = False) -> None:
        """As the broker's."""
        self._timed(partial(super().submit, is_known=is_known), order, now)

    def settle(self, now: float) -> tuple[Grant, ...]:
        """As the broker's."""
        return self._timed(super().settle, now)  # type: ignore[no-any-return]


class FailingFleet(SimulatedFleet):
    """A fleet in which everything fails now and then."""

    def __init__(self, size: Size, seed: int) -> None:
        """Make machines and orders, and let trouble begin."""
        self.random = random.Random(seed)  # noqa: S311 - histories, not secrets
        self.size, self.took_s, self.events = size, [], 0  # type: ignore[var-annotated]
        self.counts: Counter[str] = Counter()
        self.epochs: dict[str, int] = {}
        machines = [_machine(number, size.kinds) for number in range(size.machines)]
        super().__init__(machines, lambda *_: self.random.lognormvariate(5.5, 0.6), self._new_broker(0.0))
        for number, machine in enumerate(self.machines.values()):
            self.at(BEAT_S * number / len(machines), lambda each=machine: self._beats(each))  # type: ignore[misc]
            self._trouble_later(machine)
        self.at(self._after(size.broker_dies_every_s), self._broker_dies)
        self.at(LOOK_S, self._look)
        for number in range(size.orders):
            user, kind = f"user{self.random.randrange(size.users)}", f"kind{self.random.randrange(size.kinds)}"
            self.submit(Order(f"order{number}", user, kind, {}, expected_s=300.0), self.random.uniform(0, HOUR_S / 2))

    def _new_broker(self, grace_s: float) -> Broker:
        broker = TimedBroker(getattr(self, "now", 0.0), quota=self.size.quota, grace_s=grace_s)
        broker.took_s = self.took_s
        return broker

    def _after(self, mean_s: float) -> float:
        return getattr(self, "now", 0.0) + self.random.expovariate(1 / mean_s)

    def _beats(self, machine: SimulatedMachine) -> None:
        self.beat(machine)
        self.at(self.now + BEAT_S, lambda: self._beats(machine))

    def beat(self, machine: SimulatedMachine) -> None:
        """Beat, and join where the broker is a new one."""
        try:
            super().beat(machine)
        except UsageError:
            self.broker.join(machine.machine, "", tuple(machine.spool.values()), self.now)
            super().beat(machine)

    def submit(self, order: Order, at_s: float = 0.0) -> None:
        """Submit an order at a time, and again later where a new broker refuses it, whose machines are away."""
        self.unfinished[order.order_id] = order
        self.at(at_s, lambda: self._submit(order))

    def _submit(self, order: Order) -> None:
        try:
            self.broker.submit(order, self.now)
        except UsageError:
            self.counts["refused at first"] += 1
            self.at(self.now + LOOK_S, lambda: self._submit(order))

    def send(self, order: Order, machine: SimulatedMachine) -> None:
        """Send an order until its machine has it, or the grant is void."""
        self.epochs[order.order_id] = order.epoch
        self.counts["grants"] += 1
        self.at(self.now + DELIVERY_S, lambda: self._try(order, machine))

    def _try(self, order: Order, machine: SimulatedMachine) -> None:
        entry = self.broker.orders.get(order.order_id)
        stands = entry and (entry.machine_id, entry.leased_epoch) == (machine.machine.machine_id, order.epoch)
        if not stands or (entry and entry.is_accepted):
            return
        known = machine.spool.get(order.order_id)
        if machine.is_reachable and not machine.is_busy and (known is None or known.order.epoch < order.epoch):
            self.accept(order, machine)
        else:
            self.at(self.now + RETRY_S, lambda: self._try(order, machine))

    def _trouble_later(self, machine: SimulatedMachine) -> None:
        self.at(self._after(self.size.trouble_every_s), lambda: self._trouble(machine))

    def _trouble(self, machine: SimulatedMachine) -> None:
        machine.is_reachable = False
        if self.random.random() < 1 / 2:
            self.counts["power cuts"] += 1
            machine.starts += 1
            for order_id, held in machine.spool.items():
                if held.state is OrderState.running:
                    machine.spool[order_id] = Held(held.order, OrderState.failed)
        else:
            self.counts["partitions"] += 1
        self.at(self._after(self.size.away_s), lambda: self._back(machine))

    def _back(self, machine: SimulatedMachine) -> None:
        machine.is_reachable = True
        late = [name for name, held in machine.spool.items() if held.state is OrderState.done and name in self.results]
        self.counts["late results"] += len(late)
        self.beat(machine)
        self._trouble_later(machine)

    def _broker_dies(self) -> None:
        self.counts["brokers died"] += 1
        self.broker = self._new_broker(15.0)
        for order in self.unfinished.values():
            known = replace(order, epoch=max(1, self.epochs.get(order.order_id, 1)))
            self.at(self.now + self.random.uniform(0, BEAT_S), lambda each=known: self._submit_again(each))  # type: ignore[misc]
        self.at(self._after(self.size.broker_dies_every_s), self._broker_dies)

    def _submit_again(self, order: Order) -> None:
        if order.order_id in self.unfinished:
            self.broker.submit(order, self.now, is_known=True)

    def _look(self) -> None:
        """Let coordinators see which orders were given up, submit those anew, and keep what fleets tell."""
        for order_id in tuple(self.unfinished):
            entry = self.broker.orders.get(order_id)
            if entry and entry.is_given_up:
                self.counts["given up"] += 1
                del self.unfinished[order_id]
        self.at(self.now + LOOK_S, self._look)

    def check(self) -> None:
        """Hold the broker against what must always be true.

        Raises:
            BenchmarkError: it is not.
        """
        broker = self.broker
        leased = {name: each.machine_id for name, each in broker.orders.items() if each.machine_id}
        holding = Counter(broker.orders[name].order.user for name in leased)
        truths = {
            "a machine has one lease, and it knows of it": leased
            == {each.order_id: machine_id for machine_id, each in broker.machines.items() if each.order_id},
            "no user exceeds the quota": max(holding.values(), default=0) <= (self.size.quota or len(leased) or 1),
            "an order that has not ended waits, is leased or has a result": all(
                (name in broker.turns) + bool(each.machine_id) + bool(each.results) >= 1
                for name, each in broker.orders.items()
                if each.is_submitted and not each.end
            ),
            "no order is in two places": not any(
                (name in broker.turns) + bool(each.machine_id) + bool(each.results) > 1
                for name, each in broker.orders.items()
            ),
        }
        for truth, holds in truths.items():
            if not holds:
                message = f"broken after {self.events} events: {truth}"
                raise BenchmarkError(message)

    def play(self, every: int) -> None:
        """Run to the end, and check every so many events."""
        while self.unfinished:
            self.step()
            self.events += 1
            if self.events % every == 0:
                self.check()
        self.check()
        ended = len(self.results) + self.counts["given up"]
        if ended < self.size.orders or not self.results.keys() <= {f"order{each}" for each in range(self.size.orders)}:
            message = f"{self.size.orders - ended} orders are forgotten"
            raise BenchmarkError(message)


def _machine(number: int, kinds: int) -> FleetMachine:
    return FleetMachine(f"machine{number}", (f"kind{number % kinds}",), 2, 8.0, "a processor", "0.1.0")


def _small(seed: int) -> Size:
    chance = random.Random(seed)  # noqa: S311 - histories, not secrets
    return Size(
        chance.randint(2, 6), 2, chance.randint(5, 40), 4, chance.choice([None, 1, 2]), chance.choice([600.0, 2000.0]),
        chance.choice([30.0, 200.0, 900.0]), chance.choice([1000.0, 5000.0]),
    )  # fmt: skip


def main() -> None:
    """Play the histories, and print the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--histories", type=int, default=1000, help="small ones (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the first history (default: 0)")
    arguments = parser.parse_args()
    began = time.perf_counter()
    large = FailingFleet(LARGE, arguments.seed)
    large.play(EVERY)
    took_s = time.perf_counter() - began
    decisions = sorted(large.took_s)
    p99_ms = 1000 * decisions[int(0.99 * len(decisions))]
    small: Counter[str] = Counter()
    for seed in range(arguments.seed, arguments.seed + arguments.histories):
        fleet = FailingFleet(_small(seed), seed)
        fleet.play(1)
        small += fleet.counts + Counter(events=fleet.events, orders=fleet.size.orders, recorded=len(fleet.results))
    rows = [
        ("machines, kinds, orders, users", f"{LARGE.machines}, {LARGE.kinds}, {LARGE.orders}, {LARGE.users}", ""),
        ("virtual time", f"{large.now / HOUR_S:.1f} h", ""),
        ("seconds", f"{took_s:.1f}", f"{GOAL_S:.0f}"),
        ("decisions", str(len(decisions)), ""),
        ("a decision, p50 / p99 / max (ms)",
         f"{1000 * decisions[len(decisions) // 2]:.3f} / {p99_ms:.3f} / {1000 * decisions[-1]:.1f}",
         f"p99 {GOAL_P99_MS:.0f}"),
        ("orders recorded, once each", str(len(large.results)), ""),
        *((name, str(number), "") for name, number in sorted(large.counts.items())),
        (f"{arguments.histories} small histories", ", ".join(f"{n} {name}" for name, n in sorted(small.items())), ""),
        ("invariants broken", "0", "0"),
    ]  # fmt: skip
    show("The broker in virtual time", ("", "found", "goal"), rows)
    save(arguments, {name: figure for name, figure, _ in rows})


if __name__ == "__main__":
    run_script(main)
