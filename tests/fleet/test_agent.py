from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.support.fleet_in_memory import HERE, OTHER, Fleet, an_order, spool_of

from almaflow.fleet.agent import BEAT_S
from almaflow.fleet.broker_service import event_of
from almaflow.fleet.spool import DONE, FAILED
from almaflow.records.json_files import to_line
from almaflow.records.order import Blob, OrderState

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_an_order_is_run_once_and_removed_when_it_is_recorded(fleet: Fleet) -> None:
    spool = spool_of(fleet.machine("anna"))
    fleet.step()
    fleet.broker.submit(to_line(an_order()))
    fleet.step()
    assert spool.begun == [("order-1", 1, HERE.python)]
    assert fleet.stands("order-1").state is OrderState.running
    spool.tell("order-1", "EAGER: 1.5 ms")
    spool.end("order-1")
    fleet.step()
    news = fleet.broker.news({"order-1": (0, 0)})["order-1"]
    assert [event_of(line).line for line in news["lines"]] == ["EAGER: 1.5 ms"]
    assert fleet.broker.news({"order-1": (1, 1)})["order-1"]["lines"] == []
    assert fleet.stands("order-1").state is OrderState.done
    size = fleet.agents["anna"].pack("order-1")
    assert len(fleet.agents["anna"].read("order-1", 0, 1 << 20)) == size > 0
    fleet.broker.recorded("order-1", "anna")
    fleet.step(BEAT_S)
    assert spool.orders() == []


def test_a_new_agent_finds_what_runs_and_starts_nothing_twice(fleet: Fleet) -> None:
    spool = spool_of(fleet.machine("anna"))
    fleet.step()
    fleet.broker.submit(to_line(an_order()))
    fleet.step()
    again = spool_of(fleet.machine("anna"))
    again.alive = spool.alive
    fleet.step()
    assert again.begun == []
    assert fleet.stands("order-1").state is OrderState.running
    again.end("order-1")
    fleet.step()
    assert fleet.stands("order-1").state is OrderState.done


def test_an_order_that_was_accepted_and_not_started_is_started_by_the_next_agent(fleet: Fleet) -> None:
    spool = spool_of(fleet.machine("anna"))
    spool.accept(an_order())
    fleet.step()
    fleet.broker.submit(to_line(an_order()))
    fleet.step()
    assert [each[0] for each in spool.begun] == ["order-1"]


def test_a_program_that_dies_without_a_word_is_run_again(fleet: Fleet) -> None:
    spool = spool_of(fleet.machine("anna"))
    fleet.step()
    fleet.broker.submit(to_line(an_order()))
    fleet.step()
    spool.alive.clear()
    fleet.step()
    fleet.step()
    assert [each[:2] for each in spool.begun] == [("order-1", 1), ("order-1", 2)]


def test_a_job_that_failed_is_not_run_again(fleet: Fleet) -> None:
    spool = spool_of(fleet.machine("anna"))
    fleet.step()
    fleet.broker.submit(to_line(an_order()))
    fleet.step()
    spool.end("order-1", FAILED, 2)
    fleet.step()
    assert (fleet.stands("order-1").state, fleet.stands("order-1").code) == (OrderState.failed, 2)
    assert len(spool.begun) == 1


def test_a_machine_that_comes_back_with_a_result_after_another_one_has_the_order(fleet: Fleet) -> None:
    anna, bert = spool_of(fleet.machine("anna")), spool_of(fleet.machine("bert"))
    fleet.step()
    fleet.broker.submit(to_line(an_order()))
    fleet.step()
    first, second = (anna, bert) if anna.begun else (bert, anna)
    name = "anna" if anna.begun else "bert"
    fleet.pulled.add(name)
    for _ in range(12):
        fleet.step(BEAT_S)
    assert [each[:2] for each in second.begun] == [("order-1", 2)]
    first.end("order-1")
    fleet.pulled.clear()
    fleet.step(BEAT_S)
    fleet.step(BEAT_S)
    assert fleet.stands("order-1").state is OrderState.done
    assert fleet.stands("order-1").machine_id == name, "the first valid result wins"
    assert second.state("order-1").state != "running", "and ends the other attempt"


def test_a_cable_pulled_for_twenty_seconds_changes_nothing(fleet: Fleet) -> None:
    spool = spool_of(fleet.machine("anna"))
    fleet.step()
    fleet.broker.submit(to_line(an_order()))
    fleet.step()
    fleet.pulled.add("anna")
    fleet.step(20)
    assert fleet.stands("order-1").state is OrderState.running
    fleet.pulled.clear()
    fleet.step()
    spool.end("order-1")
    fleet.step()
    assert fleet.stands("order-1").state is OrderState.done
    assert len(spool.begun) == 1


def test_a_new_broker_learns_all_from_machines_and_coordinators(fleet: Fleet) -> None:
    spool = spool_of(fleet.machine("anna"))
    fleet.step()
    fleet.broker.submit(to_line(an_order(1)))
    fleet.broker.submit(to_line(an_order(2)))
    fleet.step()
    spool.tell("order-1", "a phase")
    fleet.new_broker()
    fleet.step(BEAT_S)
    for number in (1, 2):
        fleet.broker.submit(to_line(an_order(number)))
    assert fleet.stands("order-1").state is OrderState.running
    assert fleet.stands("order-2").place == 1
    assert len(fleet.broker.news({"order-1": (0, 0)})["order-1"]["lines"]) == 1
    spool.end("order-1")
    fleet.step(BEAT_S)
    fleet.step()
    assert [each[0] for each in spool.begun] == ["order-1", "order-2"]


def test_an_order_that_did_not_reach_its_machine_is_sent_again_at_the_next_beat(fleet: Fleet) -> None:
    spool = spool_of(fleet.machine("anna"))
    fleet.step()
    fleet.broker.submit(to_line(an_order()))
    fleet.sent.clear()
    assert spool.orders() == []
    fleet.step(BEAT_S)
    fleet.step()
    assert [each[0] for each in spool.begun] == ["order-1"]


def test_an_order_of_another_form_fails_with_one_line(fleet: Fleet) -> None:
    spool = spool_of(fleet.machine("anna"))
    fleet.step()
    fleet.broker.submit(to_line(an_order(schema=99)))
    fleet.step()
    event = fleet.stands("order-1")
    assert (event.state, event.code) == (OrderState.failed, 2)
    assert "form 99" in event.line
    assert spool.begun == []


def test_files_are_fetched_once_and_an_environment_is_chosen(fleet: Fleet) -> None:
    spool = spool_of(fleet.machine("anna"))
    data = b"weights" * 1_000_000
    sha256 = hashlib.sha256(data).hexdigest()
    half = len(data) // 2
    assert fleet.broker.lacks({sha256: len(data)}) == {sha256: 0}
    fleet.broker.put_blob(sha256, 0, data[:half], len(data))
    assert fleet.broker.lacks({sha256: len(data)}) == {sha256: half}
    fleet.broker.put_blob(sha256, half, data[half:], len(data))
    assert fleet.broker.lacks({sha256: len(data)}) == {}
    fleet.step()
    blobs = {"model.weights": Blob(sha256, len(data))}
    fleet.broker.submit(to_line(replace(an_order(), blobs=blobs, environment="torch<2.8")))
    fleet.step()
    assert (spool.root / "blobs" / sha256).read_bytes() == data
    assert spool.begun == [("order-1", 1, OTHER.python)]


def test_an_order_over_its_time_is_cancelled(fleet: Fleet) -> None:
    spool = spool_of(fleet.machine("anna"))
    fleet.step()
    fleet.broker.submit(to_line(an_order(time_limit_s=60.0)))
    fleet.step()
    fleet.step(30)
    assert spool.state("order-1").state == "running"
    fleet.step(31)
    assert spool.state("order-1").state == "cancelled"


def test_the_machines_tell_what_they_do(fleet: Fleet) -> None:
    spool = spool_of(fleet.machine("anna"))
    fleet.step()
    assert [each["state"] for each in fleet.broker.machines()] == ["idle"]
    fleet.broker.submit(to_line(an_order()))
    fleet.step()
    (machine,) = fleet.broker.machines()
    assert (machine["state"], machine["order_id"], machine["user"]) == ("busy", "order-1", "ann")
    assert [each["user"] for each in fleet.broker.queue()] == ["ann"]
    fleet.broker.drain("anna", is_drained=True)
    spool.end("order-1", DONE)
    fleet.step()
    assert [each["state"] for each in fleet.broker.machines()] == ["drained"]
