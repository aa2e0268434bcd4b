"""A job that comes from a machine becomes one of this home."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.support.fake_fleet import MACHINE, kept, write_result

from almaflow import machine
from almaflow.errors import AlmaflowError, RecordError, UsageError
from almaflow.fleet.adopt import adopt, incoming, job_files, record, uri_of
from almaflow.fleet.run_order import JOB
from almaflow.tracking.reader import conversion_runs

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_a_job_of_this_home(tmp_path: Path) -> None:
    write_result(tmp_path / "fetched", "order-1")
    sent = replace(kept(), order=replace(kept().order, sweep_id="a-sweep"))
    assert adopt(sent, tmp_path / "fetched")
    files = job_files(sent)
    job = files.read_job()
    assert job.directory == str(machine.home() / "jobs" / "order-1") == str(files.root)
    assert (job.store, job.tracked, job.sweep_id) == (sent.store, False, "a-sweep")
    assert job.config == {"batch_size": 2}
    assert job.outcomes[0].log_path == f"{files.root}/conversions/00-EAGER/worker.log"
    assert JOB not in (files.root / "job.json").read_text()
    assert not (tmp_path / "fetched").exists()


def test_a_second_one_is_not_taken(tmp_path: Path) -> None:
    for number in ("first", "second"):
        write_result(tmp_path / number, "order-1", machine=number)
    assert adopt(kept(), tmp_path / "first")
    assert not adopt(kept(), tmp_path / "second")
    assert job_files(kept()).read_job().machine == "first"


def test_what_cannot_be_moved_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_result(tmp_path / "fetched", "order-1")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.rename", full)
    with pytest.raises(OSError, match="No space left"):
        adopt(kept(), tmp_path / "fetched")


def test_half_a_job_is_not_taken(tmp_path: Path) -> None:
    write_result(tmp_path / "fetched", "order-1")
    record = tmp_path / "fetched" / "job.json"
    record.write_text(record.read_text()[:-100])
    with pytest.raises(RecordError, match="damaged"):
        adopt(kept(), tmp_path / "fetched")
    assert not job_files(kept()).root.exists()


def test_what_is_no_job_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "fetched").mkdir()
    with pytest.raises(AlmaflowError, match="order order-1: what came has no record of a job"):
        adopt(kept(), tmp_path / "fetched")


def test_what_is_in_the_place_of_the_job_is_not_taken_for_it(tmp_path: Path) -> None:
    write_result(tmp_path / "fetched", "order-1")
    job_files(kept()).root.mkdir(parents=True)
    (job_files(kept()).root / "something").touch()
    with pytest.raises(AlmaflowError, match="is in the place of the job of an order, and is none"):
        adopt(kept(), tmp_path / "fetched")


def test_it_is_on_the_disk_before_its_machine_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_result(tmp_path / "fetched", "order-1")
    synced: list[tuple[str, bool]] = []
    there = job_files(kept()).root / "job.json"
    monkeypatch.setattr("almaflow.fleet.adopt.sync_directory", lambda path: synced.append((path.name, there.exists())))
    adopt(kept(), tmp_path / "fetched")
    assert synced == [("jobs", True)]


def test_a_machine_does_not_say_that_the_store_has_it(tmp_path: Path) -> None:
    write_result(tmp_path / "fetched", "order-1")
    (tmp_path / "fetched" / "tracked").touch()
    adopt(kept(), tmp_path / "fetched")
    assert not job_files(kept()).tracked.exists()


def test_what_a_killed_coordinator_had_fetched_goes() -> None:
    left = machine.home() / "fleet" / "incoming" / "order-1.999999999"
    left.mkdir(parents=True)
    with incoming(kept()) as place:
        assert not left.exists()
        place.mkdir()
    assert not place.exists()


def test_a_store_with_credentials_has_to_be_named_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = kept(store="http://***@server")
    with pytest.raises(UsageError, match="set MLFLOW_TRACKING_URI"):
        uri_of(sent)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:S3cret-word@server")
    assert uri_of(sent) == "http://ann:S3cret-word@server"
    assert uri_of(kept()) == "sqlite:////a/store.db"


def test_a_store_that_cannot_be_named_waits_for_sync(tmp_path: Path) -> None:
    sent = kept(store="http://***@server")
    write_result(tmp_path / "fetched", "order-1")
    adopt(sent, tmp_path / "fetched")
    lines: list[str] = []
    job = record(sent, None, lines.append)
    assert (job.job_id, job.tracked) == ("order-1", False)
    assert "set MLFLOW_TRACKING_URI" in lines[0]
    assert "`almaflow sync` writes what is missing" in lines[0]


@pytest.mark.slow
def test_it_is_recorded_once(tmp_path: Path, stored_home: Path) -> None:
    uri = f"sqlite:///{stored_home}/mlflow.db"
    sent = kept(store=uri)
    write_result(tmp_path / "fetched", "order-1")
    adopt(sent, tmp_path / "fetched")
    first, again = (record(sent, None, print) for _ in range(2))
    assert first.tracked
    assert first.run_id == again.run_id
    runs = list(conversion_runs(uri))
    assert [(run.tags["almaflow.machine"], run.tags["almaflow.logical_key"]) for run in runs] == [
        (MACHINE, "order-1/EAGER")
    ]
