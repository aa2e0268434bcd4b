"""The broker: who gets which machine, and what becomes of orders whose machines fail."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.fleet_world import FleetWorld, made_machine, made_order

from almaflow.errors import UsageError
from almaflow.fleet.broker import Broker
from almaflow.fleet.entries import Held
from almaflow.fleet.places import standings
from almaflow.records.order import INTERRUPTED, OrderState
from almaflow.report.fleet import waiting


def world(*kinds: str, quota: int | None = None) -> FleetWorld:
    return FleetWorld([made_machine(f"m{number}", kind) for number, kind in enumerate(kinds)], quota)


def work(fleet: FleetWorld) -> list[str]:
    """Let every machine run what it was granted to the end, one order at a time, and give the order of the grants."""
    while fleet.undelivered:
        grant = fleet.undelivered[0]
        fleet.deliver(grant)
        fleet.machines[grant.machine_id].become(grant.order_id, OrderState.done)
        fleet.beat(fleet.machines[grant.machine_id])
        fleet.fetch(grant.order_id)
        fleet.beat(fleet.machines[grant.machine_id])
    return [grant.order_id for grant in fleet.granted]


def test_orders_of_a_kind_are_granted_in_the_order_in_which_they_came() -> None:
    fleet = world("small")
    for number in range(4):
        fleet.submit(made_order(number))
    assert work(fleet) == [f"order-{number}" for number in range(4)]


def test_two_users_alternate_whoever_came_first_with_however_many() -> None:
    fleet = world("small", quota=1)
    for number in range(10):
        fleet.submit(made_order(number, "ann"))
    for number in range(10, 20):
        fleet.submit(made_order(number, "bob"))
    users = [fleet.orders[each].order.user for each in work(fleet)]
    assert users == ["ann", "bob"] * 10


def test_a_user_holds_no_more_machines_than_the_quota() -> None:
    fleet = world("small", "small", "small", quota=2)
    for number in range(4):
        fleet.submit(made_order(number, "ann"))
    assert len(fleet.granted) == 2
    fleet.submit(made_order(4, "bob"))
    assert fleet.granted[-1].order_id == "order-4"
    fleet.broker.quotas["ann"] = 3
    fleet.broker.cancel("order-0")
    fleet.settle()
    assert [grant.order_id for grant in fleet.granted[3:]] == ["order-2"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30))
def test_another_user_is_granted_at_most_once_between_two_grants_of_a_user_who_waits(
    steps: list[tuple[int, bool]],
) -> None:
    fleet = world("small")
    waited: dict[str, list[str]] = {}  # by user who waits, users who were granted since
    seen = 0
    for number, (user, ends) in enumerate(steps):
        fleet.submit(made_order(number, f"user-{user}"))
        if ends and fleet.undelivered:
            grant = fleet.undelivered[0]
            fleet.deliver(grant)
            fleet.machines["m0"].become(grant.order_id, OrderState.done)
            fleet.beat(fleet.machines["m0"])
            fleet.fetch(grant.order_id)
        for grant in fleet.granted[seen:]:
            mine = fleet.orders[grant.order_id].order.user
            waited.pop(mine, None)
            for others in waited.values():
                assert mine not in others
                others.append(mine)
        seen = len(fleet.granted)
        waits = {order.user for order in fleet.broker.turns.in_turn("small")}
        waited = {user: waited.get(user, []) for user in waits}


def test_a_machine_that_is_silent_loses_its_order_which_comes_before_others_again() -> None:
    fleet = world("small", "small")
    for number in range(4):
        fleet.submit(made_order(number))
    for grant in tuple(fleet.undelivered):
        fleet.deliver(grant)
    fleet.machines["m0"].is_connected = False
    fleet.now = 80.0
    fleet.beat_all()
    assert fleet.broker.orders["order-0"].machine_id == "m0"
    fleet.now = 91.0
    fleet.beat_all()
    assert fleet.broker.orders["order-0"].state is OrderState.queued
    fleet.machines["m1"].become("order-1", OrderState.done)
    fleet.beat_all()
    assert (fleet.granted[-1].order_id, fleet.granted[-1].machine_id, fleet.granted[-1].epoch) == ("order-0", "m1", 2)


def test_a_cable_that_is_plugged_in_again_within_the_lease_changes_nothing() -> None:
    fleet = world("small", "small")
    fleet.submit(made_order(0))
    fleet.deliver(fleet.undelivered[0])
    fleet.now = 80.0
    fleet.beat_all()
    assert len(fleet.granted) == 1
    assert fleet.broker.orders["order-0"].state is OrderState.running


def test_the_first_of_two_results_wins_and_the_other_is_superseded() -> None:
    fleet = world("small", "small")
    fleet.submit(made_order(0))
    fleet.deliver(fleet.undelivered[0])
    fleet.machines["m0"].is_connected = False
    fleet.now = 91.0
    fleet.beat_all()
    fleet.deliver(fleet.undelivered[0])
    assert fleet.machines["m1"].running == "order-0"
    fleet.machines["m0"].become("order-0", OrderState.done)
    fleet.machines["m1"].become("order-0", OrderState.done)
    fleet.machines["m0"].is_connected = True
    fleet.beat_all()
    fleet.fetch("order-0")
    assert fleet.orders["order-0"].recorded_of == "m0"
    held = {name: tuple(each.spool.values()) for name, each in fleet.machines.items()}
    assert fleet.broker.beat("m0", "m0", held["m0"], fleet.now).remove == ("order-0",)
    assert fleet.broker.beat("m1", "m1", held["m1"], fleet.now).superseded == ("order-0",)


def test_a_late_result_ends_the_second_attempt() -> None:
    fleet = world("small", "small")
    fleet.submit(made_order(0))
    fleet.deliver(fleet.undelivered[0])
    fleet.machines["m0"].is_connected = False
    fleet.now = 91.0
    fleet.beat_all()
    fleet.deliver(fleet.undelivered[0])
    fleet.machines["m0"].become("order-0", OrderState.done)
    fleet.machines["m0"].is_connected = True
    fleet.beat(fleet.machines["m0"])
    assert fleet.broker.beat("m1", "m1", tuple(fleet.machines["m1"].spool.values()), 91.0).stop == ("order-0",)


def test_a_part_of_a_machine_that_was_told_to_stop_is_not_the_result() -> None:
    fleet = world("small", "small")
    fleet.submit(made_order(0))
    fleet.deliver(fleet.undelivered[0])
    fleet.machines["m0"].is_connected = False
    fleet.now = 91.0
    fleet.beat_all()
    fleet.deliver(fleet.undelivered[0])
    entry, old = fleet.broker.orders["order-0"], fleet.machines["m0"]
    assert fleet.broker.beat("m0", "m0", tuple(old.spool.values()), 91.0).stop == ("order-0",)
    old.become("order-0", OrderState.done, code=INTERRUPTED)
    old.is_connected = True
    fleet.beat(old)
    assert (entry.state, entry.machine_id, entry.results) == (OrderState.running, "m1", {})
    fleet.machines["m1"].become("order-0", OrderState.done)
    fleet.beat(fleet.machines["m1"])
    assert entry.results == {"m1": 2}


def test_a_part_is_the_result_where_its_machine_was_the_one_to_measure_it_or_all_attempts_failed() -> None:
    fleet = world("small", "small")
    fleet.submit(made_order(0))
    fleet.submit(made_order(1))
    for grant in tuple(fleet.undelivered):
        fleet.deliver(grant)
    fleet.machines["m0"].become("order-0", OrderState.done, code=INTERRUPTED)  # its time was over
    fleet.beat(fleet.machines["m0"])
    assert fleet.broker.orders["order-0"].results == {"m0": 1}
    fleet.broker.cancel("order-1")
    fleet.machines["m1"].become("order-1", OrderState.done, code=INTERRUPTED)
    fleet.beat(fleet.machines["m1"])
    assert fleet.broker.orders["order-1"].results == {"m1": 1}


def test_a_machine_that_comes_back_goes_on_only_within_the_quota() -> None:
    fleet = world("small", "small", quota=1)
    fleet.submit(made_order(0))
    fleet.submit(made_order(1))
    fleet.deliver(fleet.undelivered[0])
    fleet.machines["m0"].is_connected = False
    fleet.now = 91.0
    fleet.beat_all()
    assert (fleet.granted[-1].order_id, fleet.granted[-1].machine_id) == ("order-0", "m1")
    fleet.broker.cancel("order-0")
    fleet.settle()
    assert (fleet.granted[-1].order_id, fleet.granted[-1].machine_id) == ("order-1", "m1")
    fleet.submit(made_order(2))
    other = Held(replace(made_order(2), epoch=1), OrderState.running)
    assert fleet.broker.beat("m0", "m0", (other,), 91.0).stop == ("order-2",), "order-1 has the one of the quota"
    fleet.broker.quotas["ann"] = 2
    assert fleet.broker.beat("m0", "m0", (other,), 91.0).stop == ()
    assert fleet.broker.orders["order-2"].machine_id == "m0"


def test_an_order_is_given_up_after_three_attempts_and_a_late_result_still_counts() -> None:
    fleet = world("small")
    fleet.submit(made_order(0))
    for _ in range(3):
        fleet.deliver(fleet.undelivered[0])
        fleet.machines["m0"].become("order-0", OrderState.failed)
        fleet.beat_all()
    assert [grant.epoch for grant in fleet.granted] == [1, 2, 3]
    entry = fleet.broker.orders["order-0"]
    assert (entry.state, entry.line) == (
        OrderState.failed,
        "given up after 3 attempts: it ended without a word",
    )
    fleet.machines["m0"].become("order-0", OrderState.done)
    fleet.beat_all()
    assert entry.state is OrderState.done


def test_a_job_that_failed_by_itself_is_not_tried_again() -> None:
    fleet = world("small")
    fleet.submit(made_order(0))
    fleet.deliver(fleet.undelivered[0])
    fleet.machines["m0"].become("order-0", OrderState.failed, code=2)
    fleet.beat_all()
    assert (fleet.broker.orders["order-0"].state, fleet.broker.orders["order-0"].code) == (OrderState.failed, 2)
    assert len(fleet.granted) == 1


def test_a_cancelled_order_leaves_the_queue_or_its_machine() -> None:
    fleet = world("small")
    for number in range(3):
        fleet.submit(made_order(number))
    fleet.deliver(fleet.undelivered[0])
    fleet.broker.cancel("order-1")
    fleet.broker.cancel("order-0")
    fleet.settle()
    assert len(fleet.granted) == 1  # the machine has not stopped yet
    fleet.beat_all()
    assert fleet.machines["m0"].spool["order-0"].state is OrderState.cancelled
    assert [grant.order_id for grant in fleet.granted] == ["order-0", "order-2"]


def test_a_drained_machine_ends_its_order_and_gets_no_other() -> None:
    fleet = world("small")
    fleet.submit(made_order(0))
    fleet.submit(made_order(1))
    fleet.deliver(fleet.undelivered[0])
    fleet.broker.drain("m0")
    fleet.machines["m0"].become("order-0", OrderState.done)
    fleet.beat_all()
    assert len(fleet.granted) == 1
    fleet.broker.drain("m0", is_drained=False)
    fleet.settle()
    assert len(fleet.granted) == 2


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"kind": "huge"}, "hardware=huge: no machine of the fleet is one; it has large, small (2)"),
        ({"machine_id": "m9"}, "machine m9: no such small is in the fleet; it has m0, m1"),
        (
            {"environment": "torch>=3"},
            "environment torch>=3: no small of the fleet has it; there are default (torch 2.14.1)",
        ),
    ],
)
def test_an_order_that_nobody_can_run_is_refused_with_who_offers_what(asked: dict[str, str], line: str) -> None:
    fleet = world("small", "small", "large")
    with pytest.raises(UsageError) as refused:
        fleet.submit(made_order(0, **{"kind": "small"} | asked))  # type: ignore[arg-type]
    assert str(refused.value) == line


def test_an_environment_is_asked_for_by_its_name_or_by_a_version() -> None:
    new = made_machine("new", "small", environments={"current": "2.14.1"})
    old = made_machine("old", "small", environments={"older": "2.7.1", "other": "2.9.0+cpu"})
    fleet = FleetWorld([new, old])
    for number, wanted in enumerate(["older", "torch>=2.14"]):
        fleet.submit(made_order(number, environment=wanted))
    assert [grant.machine_id for grant in fleet.granted] == ["old", "new"]


def test_two_machines_of_one_id_are_refused_and_one_that_restarted_is_not() -> None:
    fleet = world("small")
    with pytest.raises(UsageError, match="another machine of the ID m0"):
        fleet.broker.join(made_machine("m0", "small"), "another", (), 10.0)
    fleet.broker.join(made_machine("m0", "small"), "m0", (), 10.0)
    fleet.broker.join(made_machine("m0", "large"), "another", (), 101.0)
    assert fleet.broker.machines["m0"].machine.kinds == ("large",)
    with pytest.raises(UsageError, match="join it again"):
        fleet.broker.beat("m0", "m0", (), 102.0)


def test_waiting_orders_are_told_their_place_who_has_the_machine_and_about_how_long() -> None:
    fleet = world("small")
    for number, (user, seconds) in enumerate([("ann", 300.0), ("ann", 120.0), ("bob", 60.0), ("ann", 30.0)]):
        fleet.submit(made_order(number, user, expected_s=seconds))
    told = standings(fleet.broker, [f"order-{number}" for number in range(5)], 60.0)
    assert {name: (event.place, event.about_s) for name, event in told.items()} == {
        "order-0": (None, None),
        "order-2": (1, 240.0),
        "order-1": (2, 300.0),
        "order-3": (3, 420.0),
    }
    assert waiting(told["order-1"], "small") == "2nd in line for small (held by ann, about 5 min 00 s left)"


def test_without_any_known_duration_no_time_is_told() -> None:
    fleet = world("small")
    fleet.submit(made_order(0))
    fleet.submit(made_order(1, "bob"))
    event = standings(fleet.broker, ["order-1"], 0.0)["order-1"]
    assert waiting(event, "small") == "1st in line for small (held by ann)"


def test_a_new_broker_is_told_what_the_old_one_knew() -> None:
    fleet = world("small", "small", "large")
    for number in range(5):
        fleet.submit(made_order(number, kind="large" if number == 3 else "small"))
    for grant in tuple(fleet.undelivered):
        fleet.deliver(grant)
    fleet.machines["m1"].become("order-1", OrderState.done)
    fleet.beat_all()
    fleet.deliver(fleet.undelivered[0])
    before = facts(fleet.broker)
    assert before["order-0"] == (OrderState.running, "m0", 1, {})
    assert before["order-1"] == (OrderState.done, None, 1, {"m1": 1})
    fleet.replace_broker()
    assert facts(fleet.broker) == before
    fleet.check()


def facts(broker: Broker) -> dict[str, tuple[OrderState, str | None, int, dict[str, int]]]:
    return {
        name: (entry.state, entry.machine_id, entry.epoch, dict(entry.results))
        for name, entry in sorted(broker.orders.items())
    }


def test_a_new_broker_grants_nothing_before_machines_had_time_to_tell() -> None:
    broker = Broker(100.0, grace_s=15.0)
    order = made_order(0)
    broker.submit(order, 100.0)  # nobody offers it yet
    broker.join(made_machine("m0", "small"), "", (), 101.0)
    assert broker.settle(114.0) == ()
    broker.join(made_machine("m1", "small"), "", (Held(order, OrderState.running),), 114.0)
    assert broker.settle(116.0) == ()
    assert broker.orders["order-0"].machine_id == "m1"
