"""The command's process is started or treated in an unusual way: signals, limits, descriptors, namespaces, groups."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.faults.inject import Fault
from tests.faults.real import needs, really
from tests.faults.scenario import complete, ended_with, fired, holds, resumed, scenario, synced, tidy
from tests.faults.scenarios.workers import BFLOAT16

if TYPE_CHECKING:
    from tests.faults.place import Place


def called(target: str, *arguments: object, at: str = "start", nth: int = 1, conversion: str | None = None) -> Fault:
    return Fault("call", at, nth, target=target, arguments=arguments, conversion=conversion)


def ignored(number: int) -> Fault:
    return called("signal:signal", number, int(signal.SIG_IGN))


def blocked(number: int) -> Fault:
    return called("signal:pthread_sigmask", int(signal.SIG_BLOCK), [number])


@scenario(
    fault="the command was started so that it does not heed a signal, and gets it in the middle of the timed calls",
    expected="exit code 0: the job goes on to its end",
    cases={
        "SIGHUP after `nohup`": (ignored(signal.SIGHUP), signal.SIGHUP),
        "SIGINT, in the background of a script": (ignored(signal.SIGINT), signal.SIGINT),
        "SIGTERM, blocked": (blocked(signal.SIGTERM), signal.SIGTERM),
    },
)
def a_signal_is_not_heeded(place: Place, started: Fault, number: int) -> None:
    fired(
        ended_with(place.run("output=out.json", faults=(started, Fault("signal", "before round", 5, number=number))), 0)
    )
    complete(place, synced(place))
    tidy(place)


@scenario(
    fault="the command was started by a program that ignores the ends of its children (SIGCHLD)",
    expected="all is measured and stored",
)
def ends_of_children_are_ignored(place: Place) -> None:
    fired(ended_with(place.run("output=out.json", faults=(ignored(signal.SIGCHLD),)), 0))
    complete(place, synced(place))


@scenario(
    fault="the command gets a signal that it does not handle in the middle of the timed calls",
    expected="it ends; sync writes what is on disk, `resume=true` measures the rest, and nothing runs on",
    cases={name: (getattr(signal, name),) for name in ("SIGQUIT", "SIGUSR1", "SIGALRM", "SIGXCPU")},
)
def an_unusual_signal(place: Place, number: int) -> None:
    fired(ended_with(place.run(faults=(Fault("signal", "before round", 7, number=number),)), -number))
    synced(place)
    resumed(place)
    tidy(place)


@scenario(
    fault="the command, its workers or the server that forks them stop for three seconds, as by Ctrl-Z and `fg`",
    expected="exit code 0, every conversion counts, and no sample is as long as the stop",
    cases={who: (who,) for who in ("command", "workers", "server", "tree")},
)
def stopped_for_a_while(place: Place, who: str) -> None:
    fault = Fault("suspend", "before round", 8, to=who, seconds=3.0)
    fired(ended_with(place.run("output=out.json", faults=(fault,)), 0))
    count = synced(place)
    complete(place, count)
    assert all(run.metrics["latency/max"] < 2500 for run in count.conversions), "a stop is shown as a sample"


@scenario(
    fault="a worker is stopped for good in the middle of the timed calls",
    expected="once `measure.time_budget_s` is over it is ended; it is no failed conversion: `resume=true` measures it",
)
def a_worker_is_stopped_for_good(place: Place) -> None:
    fault = Fault("signal", "before timed calls", 3, to="self", number=signal.SIGSTOP, conversion=BFLOAT16)
    fired(ended_with(place.run("measure.time_budget_s=5", faults=(fault,)), 0, 1))
    synced(place)
    resumed(place, "measure.time_budget_s=5")


@scenario(
    fault="the server that forks workers is stopped for good, and the command gets Ctrl-C",
    expected="exit code 130 within seconds; `resume=true` measures what is missing, and nothing runs on",
)
def the_server_is_stopped_for_good(place: Place) -> None:
    faults = (Fault("signal", "before worker asked for", 2, to="server", number=signal.SIGSTOP),)
    command = place.start(*place.measuring(), faults=faults)
    command.wait_for("fired")
    command.send(signal.SIGINT)
    ended = ended_with(command.end(), 130)
    assert ended.seconds < 40, ended
    resumed(place)
    tidy(place)


@scenario(
    fault="the command is started with these standard streams closed",
    expected="all is measured and stored",
    cases={"input": ((0,),), "output": ((1,),), "error": ((2,),), "all": ((0, 1, 2),)},
)
def streams_are_closed(place: Place, closed: tuple[int, ...]) -> None:
    faults = tuple(called("os:close", descriptor) for descriptor in closed)
    ended_with(place.run("output=out.json", faults=faults), 0)
    complete(place, synced(place))


DEEDS: dict[str, tuple[str, *tuple[object, ...]]] = {
    "another directory": ("os:chdir", "/"),
    "umask 0777": ("os:umask", 0o777),
    "no environment": ("tests.faults.deeds:without_environment",),
    "a thread that never ends": ("tests.faults.deeds:endless_thread",),
    "an exit handler that never ends": ("tests.faults.deeds:endless_exit",),
    "200 threads": ("tests.faults.deeds:sleeping_threads", 200),
    "one processor": ("os:sched_setaffinity", 0, [0]),
}
"""What converted code calls."""


@scenario(
    fault="converted code changes the process that it runs in",
    expected="exit code 0, the conversion counts, and so do the others",
    cases={name: (called(*deed, at="after convert", conversion=BFLOAT16),) for name, deed in DEEDS.items()},
)
def converted_code_changes_its_process(place: Place, fault: Fault) -> None:
    fired(ended_with(place.run("output=out.json", "measure.time_budget_s=20", faults=(fault,)), 0))
    complete(place, synced(place))
    tidy(place)


@scenario(
    fault="the command is the first process of a container, without an init",
    expected="all is measured and stored, and the container ends with it",
)
def the_first_process(place: Place) -> None:
    wrapped = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    needs(*wrapped, "true")
    ended_with(really(place, *place.measuring("output=out.json"), wrapped=wrapped), 0)
    complete(place, synced(place))


@scenario(
    fault="a container has no network, another host name, and only the home and the temporary files can be written",
    expected="all is measured and stored; where the host's name changes, `resume=true` goes on",
)
def a_read_only_container(place: Place) -> None:
    wrapped = ("unshare", "--mount", "--net", "--uts")
    needs(*wrapped, "sh", "-c", "hostname one && mount --bind /tmp /tmp && mount -o remount,ro,bind /")
    shell = f"hostname one; mount --bind '{place.root}' '{place.root}'; mount -o remount,ro,bind /; cd '{place.root}'"
    ended_with(really(place, *place.measuring("output=out.json"), wrapped=wrapped, shell=shell), 0)
    complete(place, synced(place))
    shell = shell.replace("hostname one", "hostname two")
    ended_with(really(place, *place.measuring("resume=true"), wrapped=wrapped, shell=shell), 0)
    holds(place)
