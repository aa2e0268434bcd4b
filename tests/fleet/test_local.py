"""A fleet of this machine alone, with programs that do at once what real ones do in minutes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.support.fake_fleet import order, use_fake_program, write_result

from almaflow.errors import AlmaflowError, UsageError
from almaflow.fleet.engines.local import GRANTS, LocalEngine
from almaflow.fleet.spool import RUNNING, Spool, SpoolState
from almaflow.records import write_json
from almaflow.records.order import FINAL, OrderEvent, OrderState

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

PATIENCE_S = 300.0


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_fake_program(monkeypatch)
    return tmp_path / "spool"


def until(engine: LocalEngine, order_ids: set[str]) -> list[OrderEvent]:
    """All events until these orders have ended."""
    events: list[OrderEvent] = []
    deadline = time.monotonic() + PATIENCE_S
    while not order_ids <= {each.order_id for each in events if each.state in FINAL}:
        events += engine.events(1.0)
        assert time.monotonic() < deadline, events
    return events


def states(events: list[OrderEvent], order_id: str = "order-1") -> list[tuple[str, int]]:
    return [(str(each.state), each.epoch) for each in events if each.order_id == order_id]


def test_orders_run_one_after_the_other(root: Path, tmp_path: Path) -> None:
    engine = LocalEngine(root)
    for number in range(3):
        engine.submit(order(f"o{number}", configuration={"model": {"name": "ok"}}), {})
    events = until(engine, {"o0", "o1", "o2"})
    assert states(events, "o1") == [("queued", 1), ("started", 1), ("done", 1)]
    log = (root / "log").read_text().splitlines()
    assert log == [f"{word} o{number} 1" for number in range(3) for word in ("begin", "end")]
    engine.fetch("o1", tmp_path / "there")
    assert (tmp_path / "there" / "job.json").exists()
    engine.recorded("o1")
    with pytest.raises(AlmaflowError, match="has no result"):
        engine.fetch("o1", tmp_path / "again")


def test_an_order_whose_program_was_killed_is_begun_again_and_not_for_ever(root: Path, tmp_path: Path) -> None:
    engine = LocalEngine(root)
    engine.submit(order("once", configuration={"model": {"name": "dies once"}}), {})
    engine.submit(order("ever", configuration={"model": {"name": "dies"}}), {})
    events = until(engine, {"once", "ever"})
    assert states(events, "once") == [("queued", 1), ("started", 1), ("lost", 1), ("started", 2), ("done", 2)]
    grants = [each for number in range(1, GRANTS) for each in (("started", number), ("lost", number))]
    assert states(events, "ever") == [("queued", 1), *grants, ("started", GRANTS), ("done", GRANTS)]
    engine.fetch("ever", tmp_path / "what it measured")


def test_what_was_cut_off_is_no_result_while_it_may_be_begun_again(root: Path) -> None:
    engine = LocalEngine(root)
    for epoch, state in ((1, OrderState.lost), (GRANTS, OrderState.done)):
        spool = Spool(root)
        spool.accept(order(epoch=epoch))
        place = spool.directory("order-1")
        write_json(place / "state.json", SpoolState(RUNNING, epoch, pid=999_999_999))
        write_result(place / "job", "order-1", interrupted=True)
        assert engine.states(["order-1"])["order-1"].state is state


def test_an_order_that_another_process_removes_meanwhile_is_no_error(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = LocalEngine(root)
    monkeypatch.setattr(engine._spool, "orders", lambda: ["gone"])
    assert not engine._is_busy()


def test_another_process_takes_up_what_the_first_one_began(root: Path) -> None:
    first = LocalEngine(root)
    first.submit(order("hangs", configuration={"model": {"name": "hangs"}}), {})
    first.submit(order("waits", configuration={"model": {"name": "fails"}}), {})
    while not any(each.state is OrderState.started for each in first.events(1.0)):
        pass
    second = LocalEngine(root)
    known = second.states(["hangs", "waits", "never sent"])
    assert {name: str(event.state) for name, event in known.items()} == {"hangs": "running", "waits": "queued"}
    for name in ("hangs", "waits"):
        second.submit(order(name), {})
    assert second.events(0.6) == [], "it neither starts the one that runs again, nor one beside it"
    while not (root / "log").exists():
        time.sleep(0.05)
    second.cancel("hangs")
    events = until(second, {"hangs", "waits"})
    assert states(events, "hangs") == [("cancelled", 1)]
    assert states(events, "waits") == [("started", 1), ("failed", 1)]
    assert (events[-1].code, events[-1].line) == (2, "the model does not build")
    assert (root / "log").read_text().count("begin hangs") == 1


def test_an_order_is_cancelled_while_it_waits(root: Path) -> None:
    engine = LocalEngine(root)
    engine.submit(order("a", configuration={"model": {"name": "ok"}}), {})
    engine.submit(order("b", configuration={"model": {"name": "ok"}}), {})
    engine.cancel("b")
    events = until(engine, {"a", "b"})
    assert states(events, "b") == [("queued", 1), ("cancelled", 1)]
    assert "begin b" not in (root / "log").read_text()


def test_an_order_for_another_machine_is_refused(root: Path) -> None:
    engine = LocalEngine(root)
    with pytest.raises(UsageError, match=r"^hardware=h100: with fleet=local the only machine is this one, and"):
        engine.submit(order(kind="h100"), {})
    with pytest.raises(UsageError, match="no hardware config of this name"):
        engine.submit(order(kind="my_own"), {})
    with pytest.raises(UsageError, match=r"fleet\.machine=other"):
        engine.submit(order(machine_id="other"), {})
    assert engine.events(0.0) == []
