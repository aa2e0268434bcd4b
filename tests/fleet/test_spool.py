"""A machine's spool: what is accepted is never lost, never started twice, and stays until it was fetched."""

from __future__ import annotations

import hashlib
import io
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.fake_fleet import order, write_result

from almaflow.errors import AlmaflowError
from almaflow.fleet import run_order
from almaflow.fleet.durable import unpack
from almaflow.fleet.spool import ACCEPTED, CANCELLED, DIED, DONE, RUNNING, Spool, SpoolState, StaleOrderError
from almaflow.records import read_json, write_json
from almaflow.records.json_files import to_line
from almaflow.records.order import INTERRUPTED, ORDER_SCHEMA, Blob, Order, OrderEvent, OrderState

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def test_an_order_is_accepted_once_for_each_grant(spool: Spool) -> None:
    assert spool.accept(order())
    assert not spool.accept(order())
    assert spool.orders() == ["order-1"]
    assert spool.order("order-1") == order()
    assert spool.state("order-1") == SpoolState(ACCEPTED, 1)


def test_grants_go_up(spool: Spool) -> None:
    spool.accept(order(epoch=3))
    with pytest.raises(StaleOrderError, match="comes under grant 2, and grant 3 was seen here"):
        spool.accept(order(epoch=2))
    write_json(spool.directory("order-1") / "state.json", SpoolState(RUNNING, 3, pid=999_999_999))
    assert spool.state("order-1").state == DIED
    assert spool.accept(order(epoch=4)), "the one that died makes room"
    assert spool.state("order-1") == SpoolState(ACCEPTED, 4)


def test_an_order_that_runs_is_not_replaced(spool: Spool) -> None:
    spool.accept(order())
    write_json(spool.directory("order-1") / "state.json", SpoolState(RUNNING, 1, pid=1))
    with FileLock(spool.directory("order-1") / "lock"):
        assert spool.state("order-1").state == RUNNING
        with pytest.raises(AlmaflowError, match="still runs here"):
            spool.accept(order(epoch=2))


def test_an_order_of_another_form_is_refused(spool: Spool) -> None:
    with pytest.raises(AlmaflowError, match=f"form {ORDER_SCHEMA + 1}.*install the same version"):
        spool.accept(order(schema=ORDER_SCHEMA + 1))
    assert spool.orders() == []


@pytest.mark.parametrize("order_id", ["../x", "a/b", "", ".hidden", "x" * 101])
def test_an_id_leads_nowhere_else(spool: Spool, order_id: str) -> None:
    with pytest.raises(AlmaflowError, match="is no ID of an order"):
        spool.accept(order(order_id))


def test_an_order_that_is_cancelled_before_it_began_never_begins(spool: Spool) -> None:
    spool.accept(order())
    spool.cancel("order-1")
    assert spool.state("order-1").state == CANCELLED
    with pytest.raises(AlmaflowError, match="was started"):
        spool.start("order-1")
    assert run_order.main(str(spool.directory("order-1"))) == 0
    assert spool.state("order-1").state == CANCELLED


@pytest.mark.parametrize("state", [SpoolState(RUNNING, 1, pid=1), SpoolState("done", 1, pid=1)])
def test_a_program_that_comes_second_does_nothing(spool: Spool, state: SpoolState) -> None:
    spool.accept(order())
    write_json(spool.directory("order-1") / "state.json", state)
    assert run_order.main(str(spool.directory("order-1"))) == 0
    assert read_json(spool.directory("order-1") / "state.json", SpoolState) == state
    with FileLock(spool.directory("order-1") / "lock"):
        assert run_order.main(str(spool.directory("order-1"))) == 0


def test_files_are_kept_under_their_digests_while_an_order_needs_them(spool: Spool) -> None:
    data = b"weights"
    digest = hashlib.sha256(data).hexdigest()
    first, second = (order(name, blobs={"weights": Blob(digest, len(data))}) for name in ("a", "b"))
    assert spool.lacks(first) == [digest]
    spool.put_blob(digest, io.BytesIO(data))
    assert spool.lacks(second) == []
    with pytest.raises(AlmaflowError, match="did not come as it was sent"):
        spool.put_blob("0" * 64, io.BytesIO(data))
    spool.accept(first)
    spool.accept(second)
    spool.remove("a")
    assert spool.blobs.path(digest).read_bytes() == data
    spool.remove("b")
    assert not list(spool.blobs.root.iterdir())
    with pytest.raises(AlmaflowError, match="no digest"):
        spool.put_blob("../x", io.BytesIO(data))


def test_events_are_read_from_where_one_left_off(spool: Spool) -> None:
    spool.accept(order())
    events = [OrderEvent("order-1", OrderState.running, float(n), 1, "m", line=f"line {n} ä") for n in range(3)]
    path = spool.directory("order-1") / "events.jsonl"
    assert spool.events("order-1") == ([], 0)
    whole = "".join(map(to_line, events)).encode()
    path.write_bytes(whole[:-5])
    first, since = spool.events("order-1")
    path.write_bytes(whole)
    then, end = spool.events("order-1", since)
    assert (first, then, end) == (events[:2], events[2:], len(whole))


def test_a_line_that_a_power_cut_spoilt_is_left_out(spool: Spool) -> None:
    spool.accept(order())
    events = [OrderEvent("order-1", OrderState.running, float(n), 1, "m", line=f"line {n}") for n in range(2)]
    lines = [line.encode() for line in map(to_line, events)]
    data = lines[0] + b"\0\0\xff{\n" + lines[1]
    (spool.directory("order-1") / "events.jsonl").write_bytes(data)
    assert spool.events("order-1") == (events, len(data))


def test_a_program_that_was_cancelled_before_it_could_say_so_is_not_begun_again(spool: Spool) -> None:
    spool.accept(order())
    place = spool.directory("order-1")
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", str(place)])
    write_json(place / "state.json", SpoolState(RUNNING, 1, pid=process.pid))
    assert spool.state("order-1").state == RUNNING
    spool.cancel("order-1")
    assert process.wait() != 0
    assert spool.state("order-1") == SpoolState(CANCELLED, 1, process.pid, INTERRUPTED)
    write_result(place / "job", "order-1")
    assert spool.state("order-1") == SpoolState(DONE, 1, process.pid, INTERRUPTED)


def test_what_was_measured_is_on_the_disk_before_it_counts_as_done(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.accept(order())
    synced = []

    def measure(_: Spool, order: Order, directory: Path) -> SpoolState:
        write_result(directory, order.order_id)
        return SpoolState(DONE, order.epoch)

    monkeypatch.setattr(run_order, "_run", measure)
    monkeypatch.setattr(run_order, "sync_tree", lambda root: synced.append((root, spool.state("order-1").state)))
    run_order.main(str(spool.directory("order-1")))
    assert synced == [(spool.directory("order-1") / "job", RUNNING)]
    assert spool.state("order-1").state == DONE


def test_a_program_hears_an_interrupt_where_its_parent_did_not() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        run_order._hear_interrupts()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\\..\\x"])
def test_a_name_that_leads_out_of_an_archive_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "job.zip", "w") as files:
        files.writestr("a..b.txt", "is no such name")
    unpack(tmp_path / "job.zip", tmp_path / "there")
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["a..b.txt"]
    with zipfile.ZipFile(tmp_path / "job.zip", "a") as files:
        files.writestr(name, "x")
    with pytest.raises(AlmaflowError, match="leads elsewhere"):
        unpack(tmp_path / "job.zip", tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_half_an_archive_is_told_in_a_line(tmp_path: Path) -> None:
    whole, half = tmp_path / "whole.zip", tmp_path / "half.zip"
    with zipfile.ZipFile(whole, "w") as files:
        files.writestr("job.json", "x" * 1000)
    half.write_bytes(whole.read_bytes()[:500])
    with pytest.raises(AlmaflowError, match="no whole archive"):
        unpack(half, tmp_path / "there")


def test_a_result_is_packed_as_it_is(spool: Spool, tmp_path: Path) -> None:
    spool.accept(order())
    with pytest.raises(AlmaflowError, match="has no result"):
        spool.pack("order-1")
    job = spool.directory("order-1") / "job"
    write_result(job, "order-1")
    unpack(spool.pack("order-1"), tmp_path / "there")
    assert {path.relative_to(tmp_path / "there"): path.read_bytes() for path in (tmp_path / "there").rglob("*.*")} == {
        path.relative_to(job): path.read_bytes() for path in job.rglob("*.*")
    }


def test_places_of_the_machine_do_not_leave_it(spool: Spool, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    job = spool.directory("order-1") / "job"
    job.mkdir(parents=True)
    (job / "traceback.txt").write_text(f"{job}/x {home}/y /home/ann/model.py")
    run_order._hide_places(job)
    assert (job / "traceback.txt").read_text() == "<job>/x <almaflow>/y ~/model.py"


def test_the_line_of_an_error_does_not_say_where_it_was(
    spool: Spool, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert run_order._told(f"see {home}/jobs/log and /home/ann/x", spool.root) == "see <almaflow>/jobs/log and ~/x"
    spool.accept(order())
    write_json(spool.directory("order-1") / "state.json", SpoolState(RUNNING, 1, pid=999_999_999))
    line = spool.state("order-1").line
    assert line == "its program ended without a word; see spool/orders/order-1/log there"


def test_a_time_limit_interrupts() -> None:
    with pytest.raises(KeyboardInterrupt), run_order._limited(0.05):
        time.sleep(60)
    with run_order._limited(60.0):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    made=st.builds(
        Order,
        order_id=st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True),
        user=st.text(),
        kind=st.none() | st.text(),
        configuration=st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.booleans())),
        blobs=st.dictionaries(st.text(), st.builds(Blob, st.text(), st.integers())),
        expected_s=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        past=st.just(()),
        epoch=st.integers(1, 5),
        schema=st.just(ORDER_SCHEMA),
    )
)
def test_an_order_comes_back_as_it_was_sent(spool: Spool, made: Order) -> None:
    spool.remove(made.order_id)
    spool.accept(made)
    assert spool.order(made.order_id) == made
    assert not spool.accept(replace(made))
