"""The system gives the command less than it wants: files, processes, memory, rights."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.scenario import NotHereError, ended_with, fired, holds, resumed, scenario, synced
from tests.faults.scenarios.homes import NOBODY, give
from tests.faults.scenarios.processes import called
from tests.faults.scenarios.workers import BFLOAT16

if TYPE_CHECKING:
    from tests.faults.inject import Fault
    from tests.faults.place import Place

MB = 10**6


def limited(kind: int, most: int) -> Fault:
    return called("resource:setrlimit", kind, [most, most])


LIMITS = {
    "24 open files": limited(resource.RLIMIT_NOFILE, 24),
    "40 open files": limited(resource.RLIMIT_NOFILE, 40),
    "files of 2 kB": limited(resource.RLIMIT_FSIZE, 2_000),
    "files of 12 kB": limited(resource.RLIMIT_FSIZE, 12_000),
    "files of 100 kB": limited(resource.RLIMIT_FSIZE, 100_000),
    "a stack of 1 MB": limited(resource.RLIMIT_STACK, MB),
    "no locked memory": limited(resource.RLIMIT_MEMLOCK, 0),
}


@scenario(
    fault="the command has a limit like this (`ulimit`); later it has none",
    expected="one line or a complete job; `resume=true` measures what is missing, and no conversion is failed for good",
    cases={name: (fault,) for name, fault in LIMITS.items()},
)
def a_low_limit(place: Place, limit: Fault) -> None:
    ended_with(place.run(faults=(limit,)), 0, 1)
    holds(place)
    resumed(place)
    synced(place)


@scenario(
    fault="a user may have only so many processes",
    expected="one line or a complete job; `resume=true` measures what is missing, and no conversion is failed for good",
    cases={f"{count} processes": (count,) for count in (2, 4, 12)},
)
def few_processes(place: Place, count: int) -> None:
    give(place, NOBODY)
    place.environment = {"FAULTS_USER": NOBODY}
    ended_with(place.run(faults=(limited(resource.RLIMIT_NPROC, count),)), 0, 1)
    resumed(place)
    synced(place)


@scenario(
    fault="an unprivileged user has this umask",
    expected="all is measured and stored, or one line says why not; later `resume=true` goes on",
    cases={f"{mask:04o}": (mask,) for mask in (0o777, 0o377, 0o000)},
)
def an_odd_umask(place: Place, mask: int) -> None:
    give(place, NOBODY)
    place.environment = {"FAULTS_USER": NOBODY}
    ended_with(place.run(faults=(called("os:umask", mask),)), 0, 1)
    for path in place.home.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    resumed(place)


@scenario(
    fault="the kernel ends a worker for want of memory in the command's group (a container's limit)",
    expected="that conversion alone fails, as `out_of_memory` or `machine`, and the others count",
)
def out_of_memory_in_a_group(place: Place) -> None:
    group = Path("/sys/fs/cgroup/memory") / f"almaflow-faults-{os.getpid()}"
    if not os.access(group.parent / "memory.limit_in_bytes", os.W_OK):
        reason = "only root may limit the memory of a group, and only where groups are of the first version"
        raise NotHereError(reason)
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(400 * MB))
        faults = (
            called("tests.faults.deeds:join_group", str(group)),
            called("tests.faults.deeds:fill_memory", 3000, at="after convert", conversion=BFLOAT16),
        )
        fired(ended_with(place.run("output=out.json", faults=faults), 0))
    finally:
        group.rmdir()
    failures = {entry["conversion"]: entry["failure"] for entry in place.output()["conversions"]}
    assert failures["EAGER"] is None
    assert failures["BF16+EAGER"] in {"out_of_memory", "machine"}
    synced(place)
