"""Two users of one machine: what they share, and what one may not do to the other."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from tests.faults.commands import PATIENCE_S
from tests.faults.inject import Fault
from tests.faults.scenario import complete, ended_with, holds, one_line, scenario, synced
from tests.faults.scenarios.homes import NOBODY, give

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.place import Place

OTHER = "65533"


def second_user(place: Place) -> Path:
    """A home of another user, beside that of the place, whose commands are a first one's from now on."""
    give(place, NOBODY)
    place.environment = {"FAULTS_USER": NOBODY}
    home = place.root / "home of the other"
    for path in (home, home / "tmp"):
        path.mkdir()
        os.chown(path, int(OTHER), int(OTHER))
    return home


@contextmanager
def as_other(place: Place, home: Path) -> Iterator[None]:
    """Let commands be the other user's, with his home."""
    before = place.environment
    place.environment = before | {
        "FAULTS_USER": OTHER,
        "ALMAFLOW_HOME": str(home),
        "TMPDIR": str(home / "tmp"),
    }
    try:
        yield
    finally:
        place.environment = before


@scenario(
    fault="a user measures, and another one with a home of his own begins to measure on the same machine",
    expected="the second one waits for the first, and both are measured; with `refuse` one line tells it",
    cases={"waits": ("wait",), "refuses": ("refuse",)},
)
def two_users_measure(place: Place, mode: str) -> None:
    home = second_user(place)
    place.environment |= {"ALMAFLOW_TEST_LOCK": f"faults-{os.getpid()}"}
    words = [*place.measuring("output=out.json"), "measure.exclusive=wait"]
    first = place.start(*words, faults=(Fault("hold", "before round", 3),))
    first.wait_for("held")
    place.zygote.beside |= {first.pid, *first.pids("server"), *first.pids("worker")}
    with as_other(place, home):
        second = place.start(*place.measuring(f"measure.exclusive={mode}"))
    if mode == "refuse":
        one_line(ended_with(second.end(), 1), "another almaflow job measures")
    else:
        second.wait_for("stderr", "another almaflow job measures")
        place.zygote.beside.add(second.pid)
    first.go_on()
    place.zygote.beside -= {first.pid}
    assert place.zygote.code(first.pid, PATIENCE_S) == 0, first.text("stderr")
    if mode == "wait":
        ended_with(second.end(), 0)
        assert len(list(home.glob("jobs/*/tracked"))) == 1
    place.zygote.beside.clear()
    ended_with(first.end(), 0)
    complete(place, synced(place))


@scenario(
    fault="another user looks for the files of a job while it runs, and after it",
    expected="he can read none of them, nor write to them",
)
def another_user_looks(place: Place) -> None:
    second_user(place)
    command = place.start(*place.measuring(), faults=(Fault("hold", "before round", 5),))
    command.wait_for("held")
    (job,) = place.jobs
    running = readable(job, int(OTHER))
    command.go_on()
    ended_with(command.end(), 0)
    assert not running + readable(job, int(OTHER)), running
    assert readable(job, int(NOBODY)), "nothing was looked for"


def readable(root: Path, user: int) -> list[str]:
    """What a user can list or open, in a process of his own."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        found = [str(root)] if os.access(root, os.R_OK | os.X_OK) else []
        found += [path for path in map(str, root.rglob("*")) if os.access(path, os.R_OK)] if found else []
        os.write(writer, "\n".join(found).encode()[:60_000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    os.wait()
    return text.splitlines()


@scenario(
    fault="a user syncs, resumes and reports from a store that only another one may write",
    expected="reading works; what cannot be written ends with one line and exit code 1; nothing of it is changed",
)
def a_store_of_another_user(place: Place) -> None:
    home = second_user(place)
    ended_with(place.run(), 0)
    before = place.database.read_bytes()
    uri = f"sqlite:///{place.database}"
    with as_other(place, home):
        ended_with(place.almaflow("accuracy", "--baselines", "--uri", uri), 0, 2)
        ended_with(place.almaflow("conversions", "--history", MLFLOW_TRACKING_URI=uri), 0)
        one_line(ended_with(place.run("batch_size=2", f"tracking.uri={uri}"), 1))
    assert place.database.read_bytes() == before
    assert not list(home.glob("jobs/*")), "a job that was not begun is left"
    holds(place)


@scenario(
    fault="two users share a store that both may write, and each resumes what the other one began",
    expected="each result is in the store once; what one measured the other does not measure again",
)
def a_shared_store(place: Place) -> None:
    home = second_user(place)
    shared = place.root / "shared"
    shared.mkdir()
    database = shared / "mlflow.db"
    with closing(sqlite3.connect(place.template)) as store, closing(sqlite3.connect(database)) as copy:
        store.backup(copy)
    (shared / "mlartifacts").mkdir()
    for path in (shared, database, shared / "mlartifacts"):
        path.chmod(0o666 if path.is_file() else 0o777)
    uri = f"tracking.uri=sqlite:///{database}"
    killed = (Fault("signal", "before conversion logged", 2),)
    umask = Fault("call", "start", target="os:umask", arguments=(0,))
    first = place.run(uri, faults=(*killed, umask))
    assert first.code == -signal.SIGKILL, first
    ended_with(place.sync("--uri", uri.partition("=")[2], faults=(umask,)), 0)
    with as_other(place, home):
        again = ended_with(place.resume(uri, faults=(umask,)), 0)
    assert "worker ended" not in again.reached, "measured again"
    assert not list(home.glob("jobs/*/conversions/*/outcome.json")), "a measurement of his own"
