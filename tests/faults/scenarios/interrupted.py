"""The user or the system asks the command to end."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.faults.inject import Fault
from tests.faults.scenario import ended_with, fired, holds, resumed, scenario, synced, tidy

if TYPE_CHECKING:
    from tests.faults.place import Place

SIGNALS = {name: (getattr(signal, name),) for name in ("SIGINT", "SIGTERM", "SIGHUP")}


def interrupt(number: int, at: str, nth: int = 1, do: str = "signal") -> tuple[Fault, ...]:
    return (Fault(do, at, nth, number=number),)


@scenario(
    fault="Ctrl-C, SIGTERM or a closed terminal in the middle of the timed calls",
    expected="exit code 130; what was being measured is KILLED and has no headline; `resume=true` measures it in full",
    cases=SIGNALS,
    short=("SIGHUP",),
)
def interrupted_while_timing(place: Place, number: int) -> None:
    fired(ended_with(place.run(faults=interrupt(number, "before round", 6)), 130))
    count = holds(place)
    assert not [run.key for run in count.conversions if run.status == "FINISHED"], "cut short, and counted"
    assert {run.status for run in count.in_store if run.kind == "job"} == {"KILLED"}
    synced(place)
    resumed(place)
    synced(place)
    tidy(place)


@scenario(
    fault="a second Ctrl-C follows at once",
    expected="exit code 130; all that was measured is in the store, and the job's run is KILLED",
    cases={"in the timed calls": ("before round", 6), "while an outcome is logged": ("before log batch", 2)},
)
def interrupted_twice(place: Place, at: str, nth: int) -> None:
    fired(ended_with(place.run(faults=interrupt(signal.SIGINT, at, nth, "interrupt twice")), 130))
    count = synced(place)
    assert {run.status for run in count.in_store if run.kind == "job" and run.active} <= {"KILLED"}
    resumed(place)


@scenario(
    fault="Ctrl-C before the first conversion is measured",
    expected="exit code 130, nothing is logged, and no directory is left",
    cases={at: (at,) for at in ("before reference run", "before predictions")},
)
def interrupted_before_measuring(place: Place, at: str) -> None:
    fired(ended_with(place.run(faults=interrupt(signal.SIGINT, at)), 130))
    assert not holds(place).conversions
    tidy(place)
    resumed(place)


@scenario(
    fault="Ctrl-C or SIGTERM while what was measured is being written",
    expected="exit code 130 or 0; the write is finished first, and the store is whole",
    cases={
        "SIGINT before log artifacts": (signal.SIGINT, "before log artifacts", 1),
        "SIGINT before log batch": (signal.SIGINT, "before log batch", 3),
        "SIGINT before job written": (signal.SIGINT, "before job written", 2),
        "SIGTERM before outcome written": (signal.SIGTERM, "before outcome written", 1),
        "SIGTERM before end run": (signal.SIGTERM, "before end run", 3),
    },
)
def interrupted_while_writing(place: Place, number: int, at: str, nth: int) -> None:
    fired(ended_with(place.run(faults=interrupt(number, at, nth)), 130, 0))
    synced(place)
    resumed(place)
    tidy(place)


@scenario(
    fault="Ctrl-C in the third of three processes of each conversion",
    expected="the finished processes' samples are kept, the conversion does not count, and `resume=true` completes it",
)
def interrupted_in_the_last_process(place: Place) -> None:
    more = ("measure.replicates=3",)
    fault = Fault("signal", "before timed calls", 2, conversion="BF16-EAGER", process=3, number=signal.SIGINT)
    fired(ended_with(place.run(*more, faults=(fault,)), 130))
    count = holds(place)
    assert not [run.key for run in count.conversions if run.status == "FINISHED"], "cut short, and counted"
    resumed(place, *more)
    synced(place)


@scenario(
    fault="Ctrl-C in the second job of a sweep",
    expected="exit code 130; the third job does not begin; `resume=true` runs the rest",
)
def sweep_interrupted(place: Place) -> None:
    sizes = ("-m", "batch_size=1,2,3")
    fired(ended_with(place.run(*sizes, faults=interrupt(signal.SIGINT, "before round", 30)), 130))
    assert len(place.jobs) == 2
    ended_with(place.resume(*sizes), 0)
    done = [run.params["batch_size"] for run in synced(place).conversions if run.status == "FINISHED"]
    assert sorted(done) == ["1", "1", "2", "2", "3", "3"]


@scenario(
    fault="Ctrl-C while the server that has the store does not answer",
    expected="exit code 130 within seconds, and a word that it was heard",
)
def interrupted_while_the_server_hangs(place: Place) -> None:
    with place.server().running() as server:
        server.trouble(("hang", "", 12, 0))
        command = place.start(*place.measuring(f"tracking.uri={server.uri}"), MLFLOW_HTTP_REQUEST_TIMEOUT="20")
        command.wait_for("stderr", "timing 2 in turns")
        command.send(signal.SIGINT)
        ended = ended_with(command.end(), 130)
        assert ended.seconds < 60, ended
    assert "interrupt" in (ended.out + ended.err).lower(), ended
