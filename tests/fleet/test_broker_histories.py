"""The broker through random histories of machines, orders, coordinators and their failures."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.support.fleet_world import LOST_S, FleetWorld, made_machine, made_order

from almaflow.errors import UsageError
from almaflow.records.order import OrderState

pytestmark = pytest.mark.slow

MACHINES = [
    made_machine("m0", "small"),
    made_machine("m1", "small", "large"),
    made_machine("m2", "large", environments={"default": "2.14.1", "old": "2.7.1"}),
]
ENDS = [
    *[(OrderState.done, None)] * 4,
    (OrderState.failed, 2),
    (OrderState.failed, None),
    (OrderState.cancelled, None),
]
TROUBLES = ["pull_or_plug", "pull_or_plug", "switch", "wipe", "drain_or_not", "leave", "replace_broker"]
machine_ids = st.sampled_from([each.machine_id for each in MACHINES])


class Histories(RuleBasedStateMachine):
    """What may happen to a fleet."""

    @initialize(quota=st.sampled_from([None, 1, 2]), users=st.lists(st.sampled_from(["ann", "bob"]), max_size=6))
    def begin(self, quota: int | None, users: list[str]) -> None:
        self.world = FleetWorld(MACHINES, quota)
        for number, user in enumerate(("ann", "bob", *users)):
            self.world.submit(made_order(number, user, "large" if number % 3 else "small"))
        self.deliver()

    @rule(
        user=st.sampled_from(["ann", "bob", "cleo"]),
        kind=st.sampled_from(["small", "large", None]),
        machine_id=st.none() | machine_ids,
        environment=st.sampled_from([None, None, "old", "torch>=2.10"]),
    )
    def submit(self, user: str, kind: str | None, machine_id: str | None, environment: str | None) -> None:
        number = len(self.world.orders)
        with suppress(UsageError):  # nobody offers it
            self.world.submit(made_order(number, user, kind, machine_id=machine_id, environment=environment))

    @rule(data=st.data())
    @precondition(lambda self: self.world.orders)
    def submit_again(self, data: st.DataObject) -> None:
        mine = self.world.orders[data.draw(st.sampled_from(sorted(self.world.orders)))]
        if mine.is_open:
            self.world.broker.submit(mine.order, self.world.now)
            self.world.settle()

    @rule()
    def deliver(self) -> None:
        for grant in tuple(self.world.undelivered):
            self.world.deliver(grant)

    @rule(data=st.data())
    @precondition(lambda self: self.world.undelivered)
    def grant_is_lost(self, data: st.DataObject) -> None:
        self.world.undelivered.remove(data.draw(st.sampled_from(self.world.undelivered)))

    @rule(machine_id=machine_ids, how=st.sampled_from(ENDS))
    def end(self, machine_id: str, how: tuple[OrderState, int | None]) -> None:
        machine = self.world.machines[machine_id]
        if machine.is_on and machine.running:
            machine.become(machine.running, *how)

    @rule(silent=st.none() | machine_ids)
    def beat(self, silent: str | None) -> None:
        for machine_id, machine in self.world.machines.items():
            if machine_id != silent:
                self.world.beat(machine)

    @rule(seconds=st.sampled_from([1.0, LOST_S / 2, LOST_S + 1]))
    def time_goes_by(self, seconds: float) -> None:
        self.world.now += seconds
        self.world.settle()

    @rule(machine_id=machine_ids, trouble=st.sampled_from(TROUBLES))
    def trouble(self, machine_id: str, trouble: str) -> None:
        getattr(self.world, trouble)(machine_id)

    @rule(data=st.data())
    @precondition(lambda self: self.world.orders)
    def cancel(self, data: st.DataObject) -> None:
        order_id = data.draw(st.sampled_from(sorted(self.world.orders)))
        self.world.broker.cancel(order_id)
        self.world.settle()

    @rule(data=st.data())
    @precondition(lambda self: self.world.orders)
    def fetch(self, data: st.DataObject) -> None:
        self.world.fetch(data.draw(st.sampled_from(sorted(self.world.orders))))

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.finish()
        for order_id, mine in self.world.orders.items():
            entry = self.world.broker.orders.get(order_id)
            assert not mine.is_open or (entry and entry.is_given_up), f"{order_id} never ended"
        assert len(self.world.recorded) == len(set(self.world.recorded))


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=300, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
