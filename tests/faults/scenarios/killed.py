"""The command is killed outright, as the kernel, a batch system or a power cut does."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.faults.inject import Fault
from tests.faults.place import MIN_SAMPLES
from tests.faults.scenario import ended_with, fired, holds, resumed, scenario, synced, tidy

if TYPE_CHECKING:
    from tests.faults.place import Place

POINTS = {
    at: (at, nth)
    for at, nth in (
        ("before reference run", 1),
        ("before job opened", 1),
        ("after job opened", 1),
        ("before record begun", 1),
        ("before round", 9),
        ("before outcome written", 1),
        ("after outcome written", 2),
        ("after job written", 2),
        ("before create run", 1),
        ("after create run", 1),
        ("before log batch", 2),
        ("before log artifacts", 1),
        ("after log artifacts", 2),
        ("before end run", 3),
        ("before summary written", 1),
        ("after job closed", 1),
    )
} | {
    "after the second run is created": ("after create run", 2),
    "before the third run is created": ("before create run", 3),
    "before the last log batch": ("before log batch", 4),
}


@scenario(
    fault="the command gets SIGKILL at this point, and the same command runs again with `resume=true`",
    expected="what is on disk is in the store, each once; only the rest is measured; no process and no scratch is left",
    cases=POINTS,
    short=("after the second run is created",),
)
def killed_then_resumed(place: Place, at: str, nth: int) -> None:
    fired(ended_with(place.run(faults=(Fault("signal", at, nth),)), -signal.SIGKILL))
    resumed(place)
    synced(place)
    tidy(place)


@scenario(
    fault="the command gets SIGKILL at this point, and `almaflow sync` runs",
    expected="exit code 0; the store has all that is on disk, and no run stays RUNNING",
    cases={name: POINTS[name] for name in ("after job opened", "before round", "after create run", "before end run")},
)
def killed_then_synced(place: Place, at: str, nth: int) -> None:
    fired(ended_with(place.run(faults=(Fault("signal", at, nth),)), -signal.SIGKILL))
    synced(place)
    synced(place)
    tidy(place)
    resumed(place)


@scenario(
    fault="the command gets SIGKILL in the rounds of the third of three processes of each conversion",
    expected="the samples of the first two processes are kept, as interrupted; `resume=true` measures in full",
)
def killed_in_the_last_process(place: Place) -> None:
    more = ("measure.replicates=3",)
    fault = Fault("signal", "before timed calls", 2, conversion="BF16-EAGER", process=3)
    fired(ended_with(place.run(*more, faults=(fault,)), -signal.SIGKILL))
    for each in synced(place).on_disk:
        assert each.interrupted, each.key
        assert len(each.samples_ms) >= 2 * MIN_SAMPLES, f"{each.key}: {len(each.samples_ms)} samples"
    resumed(place, *more)
    synced(place)


@scenario(
    fault="a resumed job is killed in its turn, twice",
    expected="each attempt goes on where the one before ended, and nothing is there twice",
)
def killed_again_and_again(place: Place) -> None:
    fired(ended_with(place.run(faults=(Fault("signal", "after outcome written", 1),)), -signal.SIGKILL))
    for at in ("before round", "before catch up"):
        ended_with(place.resume(faults=(Fault("signal", at, 1),)), -signal.SIGKILL)
        holds(place)
    resumed(place)
    synced(place)
    tidy(place)


@scenario(
    fault="`almaflow sync` itself is killed while it writes",
    expected="the next sync writes the rest; nothing is there twice",
    cases={at: (at,) for at in ("after create run", "before log artifacts", "before end run")},
)
def sync_killed(place: Place, at: str) -> None:
    fired(ended_with(place.run(faults=(Fault("signal", "before conversion logged", 1),)), -signal.SIGKILL))
    fired(ended_with(place.sync(faults=(Fault("signal", at, 1),)), -signal.SIGKILL))
    synced(place)


@scenario(
    fault="a sweep is killed in its second job, and runs again with `resume=true`",
    expected="the first job is known; the second and third are measured; the store has each result once",
)
def sweep_killed(place: Place) -> None:
    sizes = ("-m", "batch_size=1,2,3")
    fault = Fault("signal", "before round", 30)
    fired(ended_with(place.run(*sizes, faults=(fault,)), -signal.SIGKILL))
    ended_with(place.resume(*sizes), 0)
    count = synced(place)
    done = [(run.params["batch_size"], run.params["conversion"]) for run in count.conversions if run.metrics]
    assert len(set(done)) == len(done) == 6, sorted(done)
    sweeps = [run for run in count.in_store if run.active and run.kind == "sweep"]
    assert all(run.status != "RUNNING" for run in sweeps)
