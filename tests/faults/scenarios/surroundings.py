"""What stands around a command: who reads its output, other commands, the clock."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import TYPE_CHECKING

from tests.faults.commands import PATIENCE_S
from tests.faults.inject import Fault
from tests.faults.scenario import complete, ended_with, fired, one_line, scenario, synced
from tests.faults.scenarios.processes import called

from almaflow.records.protocol import MINIMUM_ROUNDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.place import Place


def read_lines(pipe: Path, count: int) -> None:
    """Read some lines and go away, as ``head`` does."""
    with pipe.open("rb", buffering=0) as stream:
        for _ in range(count):
            while stream.read(1) not in {b"\n", b""}:
                pass


@scenario(
    fault="the reader of the output goes away after three lines, as `| head -3` does",
    expected="the job goes on to its end: all is measured and stored",
    cases={"stderr": ("stderr",), "stdout": ("stdout",)},
)
def the_reader_goes_away(place: Place, stream: str) -> None:
    pipe = place.root / "pipe"
    os.mkfifo(pipe)
    keeps_open = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)  # so that neither side waits for the other to open it
    command = place.start(*place.measuring("output=out.json"), **{stream: pipe})  # type: ignore[arg-type]
    read_lines(pipe, 3 if stream == "stderr" else 1)
    os.close(keeps_open)
    ended_with(command.end(), 0, 1, 120, 141)
    complete(place, synced(place))


@scenario(
    fault="standard output or error is a full device",
    expected="the job goes on to its end: all is measured and stored",
    cases={"stdout": ("stdout",), "stderr": ("stderr",)},
)
def the_output_is_full(place: Place, stream: str) -> None:
    from pathlib import Path

    streams = {stream: Path("/dev/full")}
    ended_with(place.start(*place.measuring("output=out.json"), **streams).end(), 0, 1, 120)  # type: ignore[arg-type]
    complete(place, synced(place))


@scenario(
    fault="`almaflow sync` runs while the job does, and the job is then killed",
    expected="the running job is left alone; the next sync writes it",
)
def sync_beside_a_running_job(place: Place) -> None:
    faults = (Fault("hold", "before conversion logged", 2), Fault("signal", "after conversion logged", 2))
    command = place.start(*place.measuring(), faults=faults)
    command.wait_for("held")
    place.zygote.beside |= {command.pid, *command.pids("server"), *command.pids("worker")}
    ended_with(place.sync(), 0)
    place.zygote.beside.clear()
    command.go_on()
    ended_with(command.end(), -signal.SIGKILL)
    synced(place)


@scenario(
    fault="two equal commands with `resume=true`, two equal sweeps, or two syncs, run at the same time",
    expected="each result is in the store once",
    cases={"run": ("run",), "sweep": ("sweep",), "sync": ("sync",)},
)
def two_at_once(place: Place, what: str) -> None:
    if what == "sync":
        for size in (1, 2, 3):
            faults = (Fault("signal", "before conversion logged", 1),)
            fired(ended_with(place.run(f"batch_size={size}", faults=faults), -signal.SIGKILL))
    more = ("-m", "batch_size=1,2") if what == "sweep" else ()
    arguments = ("sync",) if what == "sync" else place.measuring(*more, "resume=true")
    first = place.start(*arguments)
    second = place.start(*arguments)
    place.zygote.beside |= {second.pid}
    codes = {first.zygote.code(each.pid, PATIENCE_S) for each in (first, second)}
    place.zygote.beside.clear()
    ended_with(first.end(), 0, 1)
    ended_with(second.end(), 0, 1)
    assert 0 in codes
    synced(place)


@scenario(
    fault="the clock is set back by an hour in the middle of a job",
    expected="no duration is negative, and the figures are right",
)
def the_clock_is_set_back(place: Place) -> None:
    fault = Fault("clock", "before round", 5, seconds=-3600.0)
    ended = fired(ended_with(place.run("output=out.json", faults=(fault,)), 0))
    assert "-3" not in ended.err, ended
    count = synced(place)
    complete(place, count)
    for path in place.home.glob("jobs/*/conversions/*/outcome.json"):
        data = json.loads(path.read_text(encoding="utf-8"))
        assert data["ended_at"] >= data["started_at"], path
    negative = [
        (run.key, name, value)
        for run in count.in_store
        for name, value in run.metrics.items()
        if value < 0 and name.startswith("time/")
    ]
    assert not negative, negative


@scenario(
    fault="`almaflow accuracy` and `almaflow report` read the store while a job writes to it",
    expected="they show what there is, or one line says that it is not there yet; the job goes on",
)
def readers_beside_a_running_job(place: Place) -> None:
    command = place.start(*place.measuring(), faults=(Fault("hold", "before log artifacts", 2),))
    command.wait_for("held")
    place.zygote.beside |= {command.pid, *command.pids("server"), *command.pids("worker")}
    for arguments in (("accuracy", "--baselines"), ("report", "--output", "report.html"), ("conversions", "--history")):
        ended_with(place.almaflow(*arguments), 0, 1, 2)
    place.zygote.beside.clear()
    command.go_on()
    ended_with(command.end(), 0)
    assert len(synced(place).conversions) == 2


NAME = "a name of 'three' \"hundred\" `characters` " * 7


@scenario(
    fault="the model, or the experiment, has a name of 300 characters with quotes in it",
    expected="all is measured and stored; or one line tells it before anything is measured",
    cases={"the model": ("model.name",), "the experiment": ("experiment_name",)},
)
def a_long_name(place: Place, field: str) -> None:
    quoted = NAME.replace("'", "\\'")
    ended = ended_with(place.run(f"{field}='{quoted}'", "output=out.json"), 0, 2)
    if ended.code:
        one_line(ended)
        assert not place.jobs
    else:
        complete(place, synced(place))


@scenario(
    fault="another program takes the processors in some rounds of eager, whose calls take 80 ms then instead of 1 ms",
    expected="eager is marked as unstable; its speedups are those of the undisturbed calls, or there is none",
    cases={f"{count} of {MINIMUM_ROUNDS} rounds": (count,) for count in (4, 7)},
)
def a_busy_machine(place: Place, count: int) -> None:
    busy = called("tests.faults.deeds:disturbed", 0.08, at="before timed calls", conversion="EAGER", nth=3)
    quiet = called("tests.faults.deeds:disturbed", 0.0, at="before timed calls", conversion="EAGER", nth=3 + count)
    ended = fired(ended_with(place.run("output=out.json", faults=(busy, quiet)), 0))
    runs = {run.params["conversion"]: run.metrics for run in synced(place).conversions}
    assert not runs["EAGER"]["noise/stable"], runs["EAGER"]
    speedup = runs["BF16+EAGER"].get("speedup_vs_eager")
    assert speedup is None or 0.5 < speedup < 2, f"{speedup}: {ended}"
    told = [float(each) for each in re.findall(r"(\d+(?:\.\d+)?)x", ended.out)]
    assert all(each < 2 for each in told), ended
