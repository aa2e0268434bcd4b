"""What a coordinator makes of events: each order has at most one result, whatever happens to either side."""

from __future__ import annotations

import secrets
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.fake_fleet import MACHINE, FakeFleet, Lines, kept

from almaflow import machine
from almaflow.fleet import coordinate, orders
from almaflow.fleet.adopt import job_files
from almaflow.fleet.coordinate import Coordinator, Ended, collect
from almaflow.records.kept_order import Kept
from almaflow.records.order import OrderEvent, OrderState

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.records import Job
    from almaflow.records.kept_order import KeptOrder


class Killed(BaseException):
    """The coordinator is gone: nothing of it runs any more."""


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs that were written to the store, which is not there."""
    written: list[str] = []

    def record(kept: KeptOrder, uri: str, warn: object) -> Job:
        del uri, warn
        written.append(kept.order.order_id)
        return job_files(kept).read_job()

    monkeypatch.setattr(coordinate, "record", record)
    monkeypatch.setattr(coordinate, "FETCH_WAIT_S", 0.0)
    return written


@pytest.fixture
def fleet(tmp_path: Path) -> FakeFleet:
    return FakeFleet(tmp_path / "machines")


def run(fleet: FakeFleet, *kept_orders: KeptOrder) -> list[Ended]:
    return list(Coordinator(fleet, Lines()).run(kept_orders, {}))


def test_a_result_is_fetched_recorded_and_removed_from_its_machine(fleet: FakeFleet, recorded: list[str]) -> None:
    fleet.script = [partial(fleet.tell, "order-1", OrderState.started), partial(fleet.finish, "order-1")]
    (ended,) = run(fleet, kept())
    assert ended.job is not None
    assert (ended.code, ended.job.machine, ended.job.model.name) == (0, MACHINE, "resnet18")
    assert (recorded, fleet.removed) == (["order-1"], ["order-1"])
    known = orders.read("order-1")
    assert (known.state, known.epoch, known.machine_id) == (Kept.recorded, 1, MACHINE)
    assert orders.outstanding() == []
    assert list((machine.home() / "fleet" / "incoming").iterdir()) == []


def test_all_orders_are_on_the_disk_before_the_first_is_sent(fleet: FakeFleet) -> None:
    seen = []
    fleet.submit = lambda *_: seen.append(len(orders.outstanding()))  # type: ignore[method-assign]
    fleet.script = [partial(fleet.tell, f"order-{n}", OrderState.failed, line="no") for n in (1, 2, 3)]
    run(fleet, kept("order-1"), kept("order-2"), kept("order-3"))
    assert seen == [3, 3, 3]


def test_orders_end_on_their_own(fleet: FakeFleet, recorded: list[str]) -> None:
    fleet.refused = {"order-1"}
    fleet.script = [
        partial(fleet.tell, "order-2", OrderState.failed, line="the model does not build", code=2),
        partial(fleet.tell, "order-3", OrderState.lost),
        partial(fleet.finish, "order-3", epoch=2),
    ]
    ends = run(fleet, kept("order-1"), kept("order-2"), kept("order-3"))
    assert [(each.kept.order.order_id, each.code, each.error) for each in ends] == [
        ("order-1", 2, "nobody offers it"),
        ("order-2", 2, "the model does not build"),
        ("order-3", 0, None),
    ]
    assert recorded == ["order-3"]
    assert orders.read("order-3").epoch == 2
    assert [orders.read(each).state for each in ("order-1", "order-2")] == [Kept.failed, Kept.failed]


def test_a_machine_that_does_not_answer_is_asked_again_and_then_left(fleet: FakeFleet, recorded: list[str]) -> None:
    fleet.unreachable, fleet.script = coordinate.FETCH_TRIES - 1, [partial(fleet.finish, "order-1")]
    assert [each.code for each in run(fleet, kept())] == [0]
    fleet.unreachable, fleet.script = coordinate.FETCH_TRIES, [partial(fleet.finish, "order-2")]
    (ended,) = run(fleet, kept("order-2"))
    assert ended.error is not None
    assert (ended.code, "almaflow fleet collect" in ended.error) == (1, True)
    assert [each.order.order_id for each in orders.outstanding()] == ["order-2"]
    (late,) = collect(fleet, Lines(), orders.outstanding())
    assert isinstance(late, Ended)
    assert recorded == ["order-1", "order-2"]


def test_an_interrupt_takes_what_was_measured(fleet: FakeFleet, recorded: list[str]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    fleet.script = [
        interrupt,
        partial(fleet.finish, "order-1", interrupted=True),
        partial(fleet.tell, "order-2", OrderState.cancelled),
    ]
    ends = run(fleet, kept("order-1"), kept("order-2"))
    assert fleet.cancelled == ["order-1", "order-2"]
    assert [(each.code, each.job is not None) for each in ends] == [(130, True), (130, False)]
    assert recorded == ["order-1"]
    assert orders.read("order-2").state is Kept.cancelled


def test_an_interrupt_while_a_result_is_recorded_does_not_leave_it(
    fleet: FakeFleet, recorded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fleet.recorded

    def interrupted(order_id: str) -> None:
        monkeypatch.setattr(fleet, "recorded", real)
        raise KeyboardInterrupt(order_id)

    monkeypatch.setattr(fleet, "recorded", interrupted)
    fleet.script = [partial(fleet.finish, "order-1")]
    (ended,) = run(fleet, kept())
    assert ended.job is not None
    assert (ended.code, recorded, fleet.cancelled) == (0, ["order-1"], [])


def test_a_job_that_its_machine_interrupted_is_no_success(fleet: FakeFleet, recorded: list[str]) -> None:
    fleet.script = [partial(fleet.finish, "order-1", interrupted=True)]
    (ended,) = run(fleet, kept())
    assert (ended.code, recorded) == (1, ["order-1"])


def test_a_second_result_is_listed_and_not_recorded(fleet: FakeFleet, recorded: list[str]) -> None:
    fleet.script = [partial(fleet.finish, "order-1")]
    run(fleet, kept())
    fleet.script = [
        partial(fleet.tell, "order-1", OrderState.superseded),
        partial(fleet.tell, "order-2", OrderState.failed),
    ]
    run(fleet, kept("order-2"))
    assert orders.read("order-1").superseded == (MACHINE,)
    # Even where a fleet tells of it as if it were the first one.
    fleet.finish("order-1", epoch=2, machine="another")
    Coordinator(fleet, Lines()).take(orders.read("order-1"))
    assert job_files(kept()).read_job().machine == MACHINE
    assert recorded == ["order-1", "order-1"], "the same job again, which the store has already"


STEPS = ("write", "submit", "fetch", "adopt", "recorded", "record")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step(
    fleet: FakeFleet, recorded: list[str], monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    where = {"write": orders, "adopt": coordinate, "record": coordinate}.get(step, fleet)
    real = getattr(where, step)

    def killing(*given_: object, **named: object) -> None:
        if after:
            real(*given_, **named)
        raise Killed

    fleet.script = [partial(fleet.finish, "order-1")]
    with monkeypatch.context() as patch:
        patch.setattr(where, step, killing)
        with pytest.raises(Killed):
            run(fleet, kept())
    if not fleet.news:
        fleet.script = [partial(fleet.finish, "order-1")]
    (ended,) = run(fleet, kept())  # as `resume=true` does
    assert ended.job is not None
    assert [path.name for path in (machine.home() / "jobs").iterdir()] == ["order-1"]
    assert orders.read("order-1").state is Kept.recorded
    assert "order-1" in fleet.removed
    assert set(recorded) == {"order-1"}


HAPPENS = st.sampled_from(["started", "lost", "done", "killed", "superseded", "unreachable"])


class History:
    """Things that happen to two orders, and a coordinator that is started again whenever it was killed."""

    def __init__(self, fleet: FakeFleet, names: list[str]) -> None:
        self.fleet, self.names = fleet, names
        self.measured_by: dict[str, str | None] = {}

    def happen(self, name: str, what: str) -> None:
        if what == "killed":
            raise Killed
        if what == "unreachable":
            self.fleet.unreachable = coordinate.FETCH_TRIES
        elif what == "done":
            self.fleet.finish(name, machine=f"m{len(self.fleet.script)}")
        else:
            self.fleet.tell(name, OrderState(what))

    def play(self, steps: list[tuple[str, str]]) -> None:
        self.fleet.script = [partial(self.happen, *each) for each in steps]
        while not all(coordinate.has_result(kept(name)) for name in self.names):
            self.fleet.script += [partial(self.happen, name, "done") for name in self.names]
            with suppress(Killed):
                self.follow()

    def follow(self) -> None:
        known = {each.order.order_id: each for each in orders.orders()}
        mine = [known.get(name) or kept(name) for name in self.names]
        for ended in Coordinator(self.fleet, Lines()).run(mine, {}):
            if ended.job:
                self.measured_by.setdefault(ended.kept.order.order_id, ended.job.machine)


@pytest.mark.slow
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_happens_each_order_has_one_result(data: st.DataObject, fleet: FakeFleet, recorded: list[str]) -> None:
    """Events in any order, coordinators that are killed at any of them, machines that finish twice."""
    names = [f"{secrets.token_hex(6)}-{number}" for number in range(2)]
    history = History(fleet, names)
    history.play(data.draw(st.lists(st.tuples(st.sampled_from(names), HAPPENS), max_size=12)))
    list(collect(fleet, Lines(), orders.outstanding()))
    assert orders.outstanding() == []
    assert set(names) <= set(recorded)
    for name, measured_by in history.measured_by.items():
        assert job_files(kept(name)).read_job().machine == measured_by


def test_an_order_without_a_fleet_that_knows_it_is_not_collected(fleet: FakeFleet) -> None:
    orders.write(kept())
    assert list(collect(fleet, Lines(), orders.outstanding())) == []
    fleet.known["order-1"] = kept().order
    fleet.tell("order-1", OrderState.running)
    (event,) = collect(fleet, Lines(), orders.outstanding())
    assert isinstance(event, OrderEvent)
    assert event.state is OrderState.running


def test_a_result_of_another_order_is_not_taken(fleet: FakeFleet, recorded: list[str], tmp_path: Path) -> None:
    fleet.finish("order-2")
    fleet.root = tmp_path / "machines"
    (fleet.root / "order-2").rename(fleet.root / "order-1")
    fleet.script = [partial(fleet.tell, "order-1", OrderState.done)]
    fleet.news = []
    (ended,) = run(fleet, kept())
    assert ended.error is not None
    assert ended.error.startswith("order order-1: what came is job order-2")
    assert recorded == []
