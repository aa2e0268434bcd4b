"""The store on this machine: somebody deletes from it, restores it, holds it, or breaks it."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from tests.faults.inject import Fault
from tests.faults.scenario import ended_with, fired, holds, one_line, resumed, scenario, synced

if TYPE_CHECKING:
    from tests.faults.place import Place

WAITS = (Fault("signal", "before conversion logged", 2),)
"""Ends a job of which the store has one conversion and disk has both."""


def change(place: Place, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(place.database, timeout=30)) as store:
        store.execute(sql, values)
        store.commit()


def delete_runs(place: Place, kind: str) -> set[tuple[str, str, int]]:
    """Delete runs as MLflow's pages do: they are marked."""
    found = [run for run in holds(place).in_store if run.active and run.kind == kind]
    for run in found:
        change(place, "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?", run.run_id)
    return {run.key for run in found}


@scenario(
    fault="a job is killed; somebody deletes its runs of this kind in MLflow's pages; another job waits too",
    expected="what somebody deleted stays deleted; all else of both jobs is written, once; no job blocks another one",
    cases={kind: (kind,) for kind in ("job", "conversion")},
)
def runs_are_deleted(place: Place, kind: str) -> None:
    fired(ended_with(place.run(faults=WAITS), -signal.SIGKILL))
    deleted = delete_runs(place, kind)
    assert deleted
    fired(ended_with(place.run("batch_size=2", faults=WAITS), -signal.SIGKILL))
    resumed(place, "batch_size=3")
    synced(place, excused=deleted)


@scenario(
    fault="jobs wait, and the store is restored from a backup that does not know them, or is made anew",
    expected="sync writes all that waits; `resume=true` of another plan goes on",
    cases={"a backup": (True,), "a new store": (False,)},
)
def the_store_is_restored(place: Place, backup: bool) -> None:
    if backup:
        ended_with(place.run("batch_size=4"), 0)
    place.copy_store()
    fired(ended_with(place.run(faults=WAITS), -signal.SIGKILL))
    place.restore_store()
    resumed(place, "batch_size=3")
    synced(place)


@scenario(
    fault="the experiment of a job that waits was deleted; another job waits in another experiment",
    expected="sync names the one, writes the other, and ends with exit code 1",
)
def the_experiment_is_deleted(place: Place) -> None:
    fired(ended_with(place.run("experiment_name=gone", faults=WAITS), -signal.SIGKILL))
    change(place, "UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = 'gone'")
    fired(ended_with(place.run("batch_size=2", faults=WAITS), -signal.SIGKILL))
    ended = ended_with(place.sync(), 1)
    assert "mlflow experiments restore" in ended.out + ended.err, ended
    assert sum(run.params["batch_size"] == "2" for run in holds(place).conversions) == 2
    change(place, "UPDATE experiments SET lifecycle_stage = 'active' WHERE name = 'gone'")
    synced(place)


@scenario(
    fault="another program holds the sqlite store's lock for eight seconds",
    expected="almaflow waits as MLflow does; nothing is lost",
    cases={"as the job starts": (None,), "in the middle": (Fault("hold", "before create run", 2),)},
)
def the_store_is_locked(place: Place, hold: Fault | None) -> None:
    held = threading.Event()

    def lock() -> None:
        with closing(sqlite3.connect(place.database, timeout=30, isolation_level=None)) as store:
            store.execute("BEGIN EXCLUSIVE")
            held.set()
            time.sleep(8)
            store.execute("ROLLBACK")

    thread = threading.Thread(target=lock)
    if hold is None:
        thread.start()
        held.wait(30)
        ended_with(place.run(), 0)
    else:
        command = place.start(*place.measuring(), faults=(hold,))
        command.wait_for("held")
        thread.start()
        held.wait(30)
        command.go_on()
        ended_with(command.end(), 0)
    thread.join()
    synced(place)
    resumed(place)


@scenario(
    fault="the store's file is broken before a job starts",
    expected="exit code 1 with one line, nothing is measured, and the file is left as it is",
    cases={"text": (b"not a database\n" * 100,), "cut": (None,)},
)
def the_store_is_broken(place: Place, data: bytes | None) -> None:
    place.copy_store()
    content = place.database.read_bytes()[:5000] if data is None else data
    place.database.write_bytes(content)
    one_line(ended_with(place.run(), 1))
    assert place.database.read_bytes() == content
    assert not place.jobs
    place.restore_store()
    resumed(place)


@scenario(
    fault="the store has the tables of a newer MLflow",
    expected="exit code 1 with one line that says so, and no advice that would harm",
)
def the_store_is_newer(place: Place) -> None:
    change(place, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    ended = ended_with(place.run(), 1)
    one_line(ended, "newer")
    assert "older MLflow" not in ended.err, ended
    assert not place.jobs


@scenario(
    fault="the store's disk is full, or read-only, from the middle of a job on",
    expected="one warning, exit code 0, and sync writes the rest",
    cases={
        "runs": (Fault("raise", "before create run", 2, 0, number=28),),
        "artifacts": (Fault("raise", "before log artifacts", 1, 0, number=30),),
    },
)
def the_store_refuses(place: Place, fault: Fault) -> None:
    ended = fired(ended_with(place.run(faults=(fault,)), 0))
    assert ended.err.count("`almaflow sync` writes what is missing") == 1, ended
    synced(place)
    resumed(place)
