from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.fleet_in_memory import Fleet, an_order, spool_of

from almaflow.errors import AlmaflowError, UsageError
from almaflow.fleet.agent import BEAT_S
from almaflow.fleet.engines.ray import RayEngine
from almaflow.records.order import Blob, OrderState

if TYPE_CHECKING:
    from pathlib import Path


class DirectEngine(RayEngine):
    """Calls a broker in this process instead of one that Ray keeps."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        super().__init__("head:6379", None, "ann")

    def _connect(self) -> None:
        """Need no connection."""

    def _ask(self, name: str, *arguments: Any) -> Any:
        return getattr(self.fleet.broker, name)(*arguments)

    def heard(self) -> list[tuple[OrderState, int, str]]:
        return [(event.state, event.epoch, event.line) for event in self.events(0.0)]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_an_order_is_followed_to_its_end(fleet: Fleet) -> None:
    spool = spool_of(fleet.machine("anna"))
    fleet.step()
    engine = DirectEngine(fleet)
    engine.submit(an_order(), {})
    assert engine.heard() == [(OrderState.started, 1, "")]
    fleet.step()
    assert engine.heard() == [(OrderState.running, 1, "")]
    assert engine.heard() == [], "nothing happened"
    spool.tell("order-1", "phase one")
    spool.tell("order-1", "phase two")
    fleet.step()
    assert [line for _, _, line in engine.heard()] == ["phase one", "phase two"]
    spool.tell("order-1", "phase three")
    spool.end("order-1")
    fleet.step()
    assert engine.heard() == [(OrderState.running, 1, "phase three"), (OrderState.done, 1, "")]
    engine.recorded("order-1")
    fleet.step(BEAT_S)
    assert spool.orders() == []
    assert engine.heard() == []


def test_a_lost_machine_is_told_before_the_order_waits_again(fleet: Fleet) -> None:
    fleet.machine("anna")
    fleet.step()
    engine = DirectEngine(fleet)
    engine.submit(an_order(), {})
    fleet.step()
    engine.heard()
    fleet.pulled.add("anna")
    for _ in range(12):
        fleet.step(BEAT_S)
    states = [state for state, _, _ in engine.heard()]
    assert states == [OrderState.lost, OrderState.queued]


def test_a_new_broker_gets_the_order_again_under_the_grant_that_was_heard_of(fleet: Fleet) -> None:
    spool = spool_of(fleet.machine("anna"))
    fleet.step()
    engine = DirectEngine(fleet)
    engine.submit(an_order(), {})
    fleet.step()
    engine.heard()
    fleet.new_broker(grace_s=15.0)
    engine.heard()
    assert "order-1" in fleet.broker.broker.orders
    fleet.step(BEAT_S)
    spool.end("order-1")
    fleet.step()
    assert engine.heard()[-1][:2] == (OrderState.done, 1)
    assert [each[:2] for each in spool.begun] == [("order-1", 1)]


def test_a_kind_that_nobody_offers_is_refused_at_once(fleet: Fleet) -> None:
    fleet.machine("anna")
    fleet.step()
    with pytest.raises(UsageError, match="hardware=h200"):
        DirectEngine(fleet).submit(replace(an_order(), kind="h200"), {})


def test_a_file_goes_to_the_head_once(fleet: Fleet, tmp_path: Path) -> None:
    fleet.machine("anna")
    fleet.step()
    data = b"weights" * 700_000
    path = tmp_path / "weights.pt"
    path.write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    engine = DirectEngine(fleet)
    sent: list[int] = []
    put = fleet.broker.put_blob

    def noted(sha256: str, offset: int, data: bytes, size: int) -> None:
        sent.append(len(data))
        put(sha256, offset, data, size)

    fleet.broker.put_blob = noted  # type: ignore[method-assign]
    blobs = {"model.weights": Blob(sha256, len(data))}
    for number in (1, 2):
        engine.submit(replace(an_order(number), blobs=blobs), {sha256: path})
    assert sum(sent) == len(data)
    assert len(sent) == 2, "in pieces"


def test_a_file_that_another_user_left_half_sent_is_sent_to_its_end(fleet: Fleet, tmp_path: Path) -> None:
    fleet.machine("anna")
    fleet.step()
    whole = b"weights" * 700_000
    path = tmp_path / "weights.pt"
    path.write_bytes(whole)
    sha256 = hashlib.sha256(whole).hexdigest()
    put, calls = fleet.broker.put_blob, 0

    def beside_another(sha256: str, offset: int, data: bytes, size: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:  # the other one's piece comes first, and is its last
            put(sha256, 0, whole[:1000], size)
        put(sha256, offset, data, size)

    fleet.broker.put_blob = beside_another  # type: ignore[method-assign]
    blobs = {"model.weights": Blob(sha256, len(whole))}
    DirectEngine(fleet).submit(replace(an_order(), blobs=blobs), {sha256: path})
    assert (fleet.root / "blobs" / sha256).read_bytes() == whole


def test_a_file_that_became_shorter_is_told(fleet: Fleet, tmp_path: Path) -> None:
    fleet.machine("anna")
    fleet.step()
    path = tmp_path / "weights.pt"
    path.write_bytes(b"short")
    blobs = {"model.weights": Blob("0" * 64, 6)}
    with pytest.raises(AlmaflowError, match="changed while it was sent"):
        DirectEngine(fleet).submit(replace(an_order(), blobs=blobs), {"0" * 64: path})


def test_an_empty_file_is_sent_too(fleet: Fleet, tmp_path: Path) -> None:
    fleet.machine("anna")
    fleet.step()
    path = tmp_path / "weights.pt"
    path.touch()
    sha256 = hashlib.sha256(b"").hexdigest()
    DirectEngine(fleet).submit(replace(an_order(), blobs={"model.weights": Blob(sha256, 0)}), {sha256: path})
    assert fleet.broker.read_blob(sha256, 0) == b""


def test_several_who_send_one_file_at_once_do_not_mix_it_up(fleet: Fleet) -> None:
    data = bytes(range(256)) * 40
    sha256 = hashlib.sha256(data).hexdigest()

    def send(_: int) -> None:
        for offset in range(0, len(data), 64):
            fleet.broker.put_blob(sha256, offset, data[offset : offset + 64], len(data))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(send, range(8)))
    assert fleet.broker.read_blob(sha256, 0) == data


def test_an_order_is_cancelled_in_the_queue(fleet: Fleet) -> None:
    fleet.machine("anna")
    fleet.step()
    engine = DirectEngine(fleet)
    engine.submit(an_order(1), {})
    engine.submit(an_order(2), {})
    places = [event.place for event in engine.events(0.0) if event.order_id == "order-2"]
    assert places == [1]
    engine.cancel("order-2")
    assert engine.states(["order-2"])["order-2"].state is OrderState.cancelled
