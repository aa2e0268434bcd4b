"""A worker, or the server that forks workers, ends or stops by no fault of the conversion or by its own."""

from __future__ import annotations

import errno
import signal
from typing import TYPE_CHECKING

from tests.faults.count import results
from tests.faults.inject import Fault
from tests.faults.scenario import ended_with, fired, holds, resumed, scenario, synced, tidy

if TYPE_CHECKING:
    from tests.faults.place import Place

BFLOAT16 = "BF16-EAGER"
"""The conversion's name as its directory has it."""


def statuses(place: Place) -> dict[str, str]:
    return {each.conversion: each.status for each in results(place.home)}


@scenario(
    fault="a worker aborts, exits, or is killed by a signal in this phase",
    expected="exit code 0; that conversion alone is failed, and the others count",
    cases={
        "abort while converting": (Fault("abort", "before convert", conversion=BFLOAT16), "crashed"),
        "exit code 0 while timing": (Fault("exit", "before timed calls", 2, conversion=BFLOAT16, number=0), "crashed"),
        "exit code 3 while loading": (Fault("exit", "before load", conversion=BFLOAT16, number=3), "crashed"),
        "SIGSEGV while checking": (
            Fault("signal", "before check", conversion=BFLOAT16, to="self", number=signal.SIGSEGV),
            "crashed",
        ),
    },
)
def a_worker_dies(place: Place, fault: Fault, failure: str) -> None:
    fired(ended_with(place.run("output=out.json", faults=(fault,)), 0))
    shown = {entry["conversion"]: (entry["status"], entry["failure"]) for entry in place.output()["conversions"]}
    assert shown == {"EAGER": ("ok", None), "BF16+EAGER": ("failed", failure)}
    synced(place)
    tidy(place)


@scenario(
    fault="the server that forks the workers is killed in the middle of the timed calls",
    expected="the job goes on with a new server; what was lost with the old one is measured by `resume=true`",
)
def the_fork_server_is_killed(place: Place) -> None:
    fired(ended_with(place.run(faults=(Fault("signal", "before round", 9, to="server"),)), 0, 1))
    holds(place)
    resumed(place)
    synced(place)
    tidy(place)


@scenario(
    fault="a conversion's process is suspended for longer than `measure.time_budget_s` (a laptop, a virtual machine)",
    expected="the conversion is not a failed one for good: `resume=true` measures it",
)
def suspended_past_the_budget(place: Place) -> None:
    fault = Fault("suspend", "before round", 9, to="tree", seconds=9.0)
    fired(ended_with(place.run("measure.time_budget_s=8", faults=(fault,)), 0, 1))
    holds(place)
    resumed(place, "measure.time_budget_s=40")


@scenario(
    fault="the whole tree is suspended for five seconds in the middle of the timed calls",
    expected="no sample of five seconds makes a throughput: it follows the calls, or the figure is marked unstable",
)
def suspended_while_timing(place: Place) -> None:
    fired(ended_with(place.run(faults=(Fault("suspend", "before timed calls", 4, to="tree", seconds=5.0),)), 0))
    for run in synced(place).conversions:
        expected = 1000 / run.metrics["latency_ms"]
        stable = run.metrics["noise/stable"]
        assert not stable or run.metrics["throughput"] > 0.2 * expected, f"{run.key}: {run.metrics['throughput']}/s"


@scenario(
    fault="a model starts a helper process in a session of its own",
    expected="the helper ends with its worker; nothing runs beside later measurements",
)
def a_helper_outlives_its_worker(place: Place) -> None:
    fired(ended_with(place.run(faults=(Fault("helper", "after convert", conversion=BFLOAT16),)), 0))
    synced(place)


@scenario(
    fault="a conversion closes every open descriptor of its process",
    expected="the job ends, and the other conversion counts",
)
def descriptors_are_closed(place: Place) -> None:
    fired(ended_with(place.run(faults=(Fault("close", "after convert", conversion=BFLOAT16),)), 0))
    assert statuses(place)["EAGER"] == "ok"
    synced(place)


@scenario(
    fault="a conversion hangs until its time is over",
    expected="it is a timeout; the other conversion counts",
)
def a_worker_hangs(place: Place) -> None:
    fault = Fault("hang", "before convert", conversion=BFLOAT16)
    fired(ended_with(place.run("measure.time_budget_s=6", "output=out.json", faults=(fault,)), 0))
    failures = {entry["conversion"]: entry["failure"] for entry in place.output()["conversions"]}
    assert failures == {"EAGER": None, "BF16+EAGER": "timeout"}
    synced(place)


@scenario(
    fault="the machine refuses what a worker needs: files, processes, a disk that became read-only",
    expected="the conversion is not a failed one for good: `resume=true` measures it",
    cases={name: (getattr(errno, name),) for name in ("EMFILE", "EAGAIN", "EROFS", "EDQUOT")},
)
def the_machine_refuses(place: Place, number: int) -> None:
    fault = Fault("raise", "before convert", conversion=BFLOAT16, number=number)
    fired(ended_with(place.run(faults=(fault,)), 0, 1))
    holds(place)
    resumed(place)
    synced(place)
