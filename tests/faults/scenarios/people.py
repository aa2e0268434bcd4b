"""Somebody changes the store by hand, or another program does, while jobs wait for it or write to it."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from tests.faults.count import Count
from tests.faults.inject import Fault
from tests.faults.scenario import ended_with, fired, holds, one_line, resumed, scenario, synced, tidy
from tests.faults.scenarios.records import WAITS
from tests.faults.scenarios.stores import change

if TYPE_CHECKING:
    from tests.faults.place import Place

TABLES = ("tags", "params", "metrics", "latest_metrics", "runs")


def purge(place: Place, kind: str) -> int:
    """Remove runs for good, as ``mlflow gc`` does, and give their number."""
    found = [run.run_id for run in holds(place).in_store if run.kind == kind]
    for run_id in found:
        for table in TABLES:
            change(place, f"DELETE FROM {table} WHERE run_uuid = ?", run_id)  # noqa: S608 - our own words
    return len(found)


@scenario(
    fault="a job is killed, and its runs of this kind are removed from the store for good (`mlflow gc`)",
    expected="sync writes all that waits, each result once",
    cases={kind: (kind,) for kind in ("job", "conversion")},
)
def runs_are_purged(place: Place, kind: str) -> None:
    fired(ended_with(place.run(faults=WAITS), -signal.SIGKILL))
    assert purge(place, kind)
    synced(place)
    resumed(place)


@scenario(
    fault="a run is removed for good while it is being written, by the job or by sync",
    expected="at most one warning or line; the next sync writes all that waits, each result once",
    cases={"by the job": (False,), "by sync": (True,)},
)
def purged_while_writing(place: Place, by_sync: bool) -> None:
    if by_sync:
        fired(ended_with(place.run(faults=WAITS), -signal.SIGKILL))
    hold = (Fault("hold", "before log artifacts", 1),)
    command = place.start("sync", faults=hold) if by_sync else place.start(*place.measuring(), faults=hold)
    command.wait_for("held")
    for run in Count.of(place.home, place.store).in_store:
        if run.kind == "conversion" and run.status == "RUNNING":
            for table in TABLES:
                change(place, f"DELETE FROM {table} WHERE run_uuid = ?", run.run_id)  # noqa: S608 - our own words
    command.go_on()
    ended_with(command.end(), 0, 1)
    synced(place)
    resumed(place)


@scenario(
    fault="the experiment is renamed in MLflow's pages while a job runs, or while it waits",
    expected="all results of the job are in one store, each once; `resume=true` goes on",
    cases={"while it runs": (False,), "while it waits": (True,)},
)
def the_experiment_is_renamed(place: Place, waits: bool) -> None:
    rename = "UPDATE experiments SET name = 'of yesterday' WHERE name = 'almaflow'"
    if waits:
        fired(ended_with(place.run(faults=WAITS), -signal.SIGKILL))
        change(place, rename)
    else:
        command = place.start(*place.measuring(), faults=(Fault("hold", "before create run", 3),))
        command.wait_for("held")
        change(place, rename)
        command.go_on()
        ended_with(command.end(), 0)
    synced(place)
    resumed(place)
    synced(place)


@scenario(
    fault="the experiment is deleted while a job runs, and restored after its end",
    expected="exit code 0 and one warning; sync says how to restore it, and then writes the rest, each result once",
)
def the_experiment_is_deleted_for_a_while(place: Place) -> None:
    command = place.start(*place.measuring(), faults=(Fault("hold", "before create run", 2),))
    command.wait_for("held")
    change(place, "UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = 'almaflow'")
    command.go_on()
    ended_with(command.end(), 0)
    ended = ended_with(place.sync(), 1)
    assert "mlflow experiments restore" in ended.out + ended.err, ended
    change(place, "UPDATE experiments SET lifecycle_stage = 'active' WHERE name = 'almaflow'")
    synced(place)
    resumed(place)


@scenario(
    fault="the store's file is removed, or replaced by an empty store, in the middle of a job",
    expected="at most one warning; sync writes all that the job measured, each result once",
    cases={"removed": (True,), "replaced": (False,)},
)
def the_store_is_replaced(place: Place, removed: bool) -> None:
    command = place.start(*place.measuring(), faults=(Fault("hold", "before create run", 3),))
    command.wait_for("held")
    place.database.unlink()
    if not removed:
        shutil.copy(place.template, place.database)
    command.go_on()
    ended_with(command.end(), 0)
    assert sorted(run.status for run in synced(place).conversions) == ["FINISHED", "FINISHED"]
    resumed(place)


@scenario(
    fault="the database behind a server is replaced by an empty one in the middle of a job",
    expected="at most one warning; sync writes all that the job measured, each result once",
)
def the_database_is_replaced(place: Place) -> None:
    with place.server().running() as server:
        uri = f"tracking.uri={server.uri}"
        command = place.start(*place.measuring(uri), faults=(Fault("hold", "before create run", 3),))
        command.wait_for("held")
        server.stop()
        place.database.unlink()
        shutil.copy(place.template, place.database)
        server.start()
        command.go_on()
        ended_with(command.end(), 0)
        synced(place, "--uri", server.uri)
        resumed(place, uri)


@scenario(
    fault="a job waits while MLflow is upgraded: the store has the tables of an older one, and then is migrated",
    expected="until then one line tells what to do, and nothing is lost; afterwards sync writes the job",
)
def the_store_is_migrated(place: Place) -> None:
    fired(ended_with(place.run(faults=WAITS), -signal.SIGKILL))
    with closing(sqlite3.connect(place.database)) as store:
        ((now,),) = store.execute("SELECT version_num FROM alembic_version").fetchall()
    change(place, "UPDATE alembic_version SET version_num = '451aebb31d03'")  # MLflow's second version of them
    one_line(ended_with(place.sync(), 1), "mlflow db upgrade")
    one_line(ended_with(place.resume(), 1), "mlflow db upgrade")
    change(place, "UPDATE alembic_version SET version_num = ?", now)
    synced(place)
    resumed(place)
    tidy(place)


@scenario(
    fault="another program has put the store's file into another mode of writing (WAL)",
    expected="all is measured and stored",
)
def another_journal(place: Place) -> None:
    with closing(sqlite3.connect(place.database)) as store:
        assert store.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
    resumed(place)
    synced(place)


@scenario(
    fault="`output=` names a file that cannot be written any more when the job ends",
    expected="all is in the store; one line tells it",
)
def the_output_cannot_be_written(place: Place) -> None:
    command = place.start(*place.measuring("output=out.json"), faults=(Fault("hold", "before round", 5),))
    command.wait_for("held")
    (place.root / "out.json").mkdir()
    command.go_on()
    one_line(ended_with(command.end(), 1), "out.json")
    assert len([run for run in synced(place).conversions if run.status == "FINISHED"]) == 2
    (place.root / "out.json").rmdir()
    resumed(place)


@scenario(
    fault="two commands begin a job with `resume=true`, one of them is killed, and sync runs beside the other",
    expected="each result is in the store once, and everything goes on",
)
def a_kill_beside_others(place: Place) -> None:
    held = place.start(*place.measuring("resume=true"), faults=(Fault("hold", "before conversion logged", 1),))
    held.wait_for("held")
    place.zygote.beside |= {held.pid, *held.pids("server"), *held.pids("worker")}
    ended_with(place.resume(faults=(Fault("signal", "before conversion logged", 2),)), -signal.SIGKILL, 1)
    ended_with(place.sync(), 0)
    place.zygote.beside.clear()
    held.go_on()
    ended_with(held.end(), 0)
    synced(place)
    resumed(place)
