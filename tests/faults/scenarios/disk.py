"""A disk, a quota or a file system refuses what is to be written."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.faults.inject import Fault
from tests.faults.scenario import (
    NotHereError,
    ended_with,
    fired,
    holds,
    one_line,
    resumed,
    scenario,
    synced,
    tidy,
)
from tests.faults.scenarios.homes import NOBODY, give

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.place import Place

FULL = errno.ENOSPC


@scenario(
    fault="the disk with almaflow's home is full at this write; later there is space",
    expected="no conversion is failed for it: the job ends with one line, and `resume=true` measures what is missing",
    cases={
        "the worker's result": (Fault("raise", "before result written", 2, 0, conversion="BF16-EAGER", number=FULL),),
        "a conversion's outcome": (Fault("raise", "before outcome written", 1, 0, number=FULL),),
        "the job's record": (Fault("raise", "before job written", 2, 0, number=FULL),),
        "a worker's task": (Fault("raise", "before worker asked for", 3, number=FULL),),
        "any record from the 5th on": (Fault("raise", "before record written", 5, 0, number=FULL),),
        "any record from the 8th on": (Fault("raise", "before record written", 8, 0, number=FULL),),
    },
)
def home_is_full(place: Place, fault: Fault) -> None:
    fired(ended_with(place.run(faults=(fault,)), 0, 1))
    holds(place)
    resumed(place)
    synced(place)
    tidy(place)


@scenario(
    fault="the directory for temporary files is full while a model is converted",
    expected="the conversion is not a failed one for good: `resume=true` measures it",
)
def temporary_files_are_full(place: Place) -> None:
    fault = Fault("raise", "before convert", conversion="BF16-EAGER", number=FULL)
    fired(ended_with(place.run(faults=(fault,)), 0, 1))
    holds(place)
    resumed(place)
    synced(place)


@contextmanager
def small_disk(directory: Path, kilobytes: int) -> Iterator[None]:
    """A disk of this size in the place of a directory."""
    if os.geteuid() != 0:
        reason = "only root may make a small disk"
        raise NotHereError(reason)
    directory.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(directory)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        reason = "this container does not let a small disk be made"
        raise NotHereError(reason)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


@scenario(
    fault="the disk with the jobs really is full: one of this many kilobytes, which then gets more space",
    expected="one line or a complete job; `resume=true` measures what is missing, and the store has each result once",
    cases={f"{size} kB": (size,) for size in (16, 28, 36, 48, 64)},
)
def a_small_disk(place: Place, kilobytes: int) -> None:
    jobs = place.home / "jobs"
    with small_disk(jobs, kilobytes):
        ended_with(place.run(), 0, 1)
        kept = place.root / "kept"
        shutil.copytree(jobs, kept)
    shutil.copytree(kept, jobs, dirs_exist_ok=True)
    holds(place)
    resumed(place)
    synced(place)


@scenario(
    fault="the job's directory is removed while it runs",
    expected="the job ends with exit code 1 and one line; nothing is in the store twice, and the next job runs",
)
def the_directory_is_removed(place: Place) -> None:
    command = place.start(*place.measuring(), faults=(Fault("hold", "before round", 5),))
    command.wait_for("held")
    for job in place.jobs:
        shutil.rmtree(job)
    command.go_on()
    ended = ended_with(command.end(), 1)
    assert "free some space" not in ended.err, ended
    holds(place)
    resumed(place)


@scenario(
    fault="almaflow's home belongs to another user, and cannot be written",
    expected="exit code 1 or 2 with one line, no traceback, and nothing is written",
)
def home_of_another_user(place: Place) -> None:
    give(place, NOBODY)
    for path in (place.home, place.database):
        os.chown(path, 0, 0)
        path.chmod(0o555 if path.is_dir() else 0o444)
    place.environment = {"FAULTS_USER": NOBODY}
    one_line(ended_with(place.run(), 1, 2), str(place.home))
    assert not place.jobs
    for path in (place.home, place.database):
        os.chown(path, int(NOBODY), int(NOBODY))
        path.chmod(0o755)
    resumed(place)
