"""The store is MLflow's server, and the server or the way to it has trouble."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.faults.inject import Fault
from tests.faults.scenario import NotHereError, ended_with, fired, holds, resumed, scenario, synced
from tests.support.real_servers import _postgres_programs, postgres

if TYPE_CHECKING:
    from tests.faults.place import Place

LATER = "`almaflow sync` writes what is missing"
Rule = tuple[str, str, int, int]


@scenario(
    fault="the server is there, and answers like this",
    expected="at most one warning, exit code 0; once the server is well, sync writes the rest, each result once",
    cases={
        "500 from the 20th request on": (("500", "", 20, 0),),
        "connections dropped from the 24th request on": (("drop", "", 24, 0),),
        "the answer to runs/create is lost, once": (("lose", "runs/create", 1, 1),),
        "every answer to runs/create is lost": (("lose", "runs/create", 1, 0),),
        "answers to log-batch are lost": (("lose", "log-batch", 2, 2),),
        "answers to runs/update are lost": (("lose", "runs/update", 1, 3),),
        "no answer from the 12th request on": (("hang", "", 12, 0),),
        "403": (("403", "runs/", 1, 0),),
        "429": (("429", "runs/create", 1, 0),),
        "a login page": (("html", "", 1, 0),),
        "slowly": (("slow", "", 1, 0),),
    },
    short=("the answer to runs/create is lost, once",),
)
def a_troubled_server(place: Place, rule: Rule) -> None:
    with place.server().running() as server:
        server.trouble(rule)
        ended = ended_with(place.run(f"tracking.uri={server.uri}"), 0)
        assert ended.err.count(LATER) <= 1, ended
        holds(place)
        server.trouble()
        synced(place, "--uri", server.uri)
        synced(place, "--uri", server.uri)


@scenario(
    fault="the server is not there when the job starts",
    expected="one warning, exit code 0; sync writes the job once the server is back",
)
def no_server(place: Place) -> None:
    server = place.server()
    ended = ended_with(place.run(f"tracking.uri={server.uri}"), 0)
    assert ended.err.count(LATER) == 1, ended
    with server.running():
        synced(place, "--uri", server.uri)


@scenario(
    fault="the server is not there when a job is to be resumed",
    expected="exit code 1 at once with one line, or the job is measured; no promise that is not kept",
)
def no_server_to_resume_from(place: Place) -> None:
    server = place.server()
    ended = ended_with(place.resume(f"tracking.uri={server.uri}"), 0, 1)
    assert ended.code == 0 or "the job goes on" not in ended.err, ended
    assert ended.seconds < 60, ended


@scenario(
    fault="the server is killed in the middle of a job, and started again before its end, or after",
    expected="exit code 0, nothing is lost, nothing is there twice",
    cases={"before": (True,), "after": (False,)},
)
def the_server_is_killed(place: Place, back: bool) -> None:
    with place.server().running() as server:
        faults = (Fault("hold", "before create run", 2),)
        command = place.start(*place.measuring(f"tracking.uri={server.uri}"), faults=faults)
        command.wait_for("held")
        server.stop()
        if back:
            server.start()
        command.go_on()
        ended_with(command.end(), 0)
        if not back:
            server.start()
        synced(place, "--uri", server.uri)


@scenario(
    fault="the server loses answers, and then the command is killed",
    expected="sync writes all that is on disk, each result once",
)
def a_troubled_server_and_a_kill(place: Place) -> None:
    with place.server().running() as server:
        server.trouble(("lose", "runs/create", 2, 0))
        faults = (Fault("signal", "before job closed", 1),)
        fired(ended_with(place.run(f"tracking.uri={server.uri}", faults=faults), -signal.SIGKILL))
        server.trouble()
        synced(place, "--uri", server.uri)


@scenario(
    fault="the store is in PostgreSQL; a job is killed, synced, killed again in another plan, and resumed",
    expected="sync writes all that is on disk, each result once; `resume=true` measures the rest",
)
def a_store_in_postgresql(place: Place) -> None:
    if _postgres_programs() is None:
        reason = "PostgreSQL is not installed"
        raise NotHereError(reason)
    with postgres() as uri:
        place.postgres = uri.replace("+psycopg2", "")
        faults = (Fault("signal", "before conversion logged", 2),)
        fired(ended_with(place.run(f"tracking.uri={uri}", faults=faults), -signal.SIGKILL))
        synced(place, "--uri", uri)
        resumed(place, f"tracking.uri={uri}")
        faults = (Fault("signal", "after create run", 2),)
        fired(ended_with(place.run(f"tracking.uri={uri}", "batch_size=2", faults=faults), -signal.SIGKILL))
        resumed(place, f"tracking.uri={uri}", "batch_size=2")
        synced(place, "--uri", uri)
