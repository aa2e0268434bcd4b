"""Almaflow's home, the directory of the command, and that for temporary files are moved, shared, odd or limited."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.faults.inject import Fault
from tests.faults.real import needs
from tests.faults.scenario import NotHereError, ended_with, fired, holds, one_line, resumed, scenario, synced, tidy
from tests.faults.scenarios.records import WAITS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.place import Place

NOBODY = "65534"
WRITES = (("record", 8), ("outcome", 1), ("summary", 1), ("result", 4))
"""What is written to the home, and which write is the first that the disk refuses. A real one stays writable
while somebody writes to it."""
LONG = "/".join(["a-directory-with-a-name-of-forty-letters"] * 6)


@contextmanager
def mounted(directory: Path, options: str) -> Iterator[None]:
    """A file system in memory, with these options, in the place of a directory whose files it gets."""
    if os.geteuid() != 0:
        reason = "only root may mount"
        raise NotHereError(reason)
    kept = directory.with_name(f"{directory.name}.before")
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copytree(directory, kept)
    needs("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory))
    try:
        if "ro" not in options.split(","):
            shutil.copytree(kept, directory, dirs_exist_ok=True)
        yield
    finally:
        after = directory.with_name(f"{directory.name}.after")
        shutil.copytree(directory, after)
        subprocess.run(["umount", "-l", str(directory)], check=True)
        shutil.copytree(after, directory, dirs_exist_ok=True)


@scenario(
    fault="the home is moved while a job waits, and `ALMAFLOW_HOME` names the new place",
    expected="sync writes the job into the store that moved with it, each result once; `resume=true` goes on",
)
def the_home_is_moved(place: Place) -> None:
    fired(ended_with(place.run(faults=WAITS), -signal.SIGKILL))
    place.home.rename(place.root / "moved home")
    place.name = "moved home"
    synced(place)
    resumed(place)


@scenario(
    fault="the home, or the directory of a job that waits, is moved to another disk, and a link left in its place",
    expected="nothing changes",
    cases={"the home": (True,), "a job": (False,)},
)
def a_link_in_its_place(place: Place, whole: bool) -> None:
    fired(ended_with(place.run(faults=WAITS), -signal.SIGKILL))
    (original,) = [place.home] if whole else place.jobs
    elsewhere = place.root / "another disk"
    shutil.move(original, elsewhere)
    original.symlink_to(elsewhere, target_is_directory=True)
    synced(place)
    resumed(place)
    tidy(place)


@scenario(
    fault="the home is copied with a job that waits, and both copies are synced to one store",
    expected="each result is in the store once",
)
def the_home_is_copied(place: Place) -> None:
    fired(ended_with(place.run(faults=WAITS), -signal.SIGKILL))
    copy = place.root / "copy"
    shutil.copytree(place.home, copy)
    synced(place)
    ended_with(place.sync("--uri", f"sqlite:///{place.database}", ALMAFLOW_HOME=str(copy)), 0)
    synced(place)
    resumed(place)


@scenario(
    fault="an older copy of the jobs' directories is put back, and the store has more",
    expected="nothing is lost or doubled; `resume=true` goes on",
)
def older_jobs_are_put_back(place: Place) -> None:
    fired(ended_with(place.run(faults=(Fault("signal", "before round", 9),)), -signal.SIGKILL))
    shutil.copytree(place.home / "jobs", place.root / "older")
    resumed(place)
    shutil.rmtree(place.home / "jobs")
    (place.root / "older").rename(place.home / "jobs")
    before = {run.key for run in holds(place).conversions if run.status == "FINISHED"}
    ended_with(place.sync(), 0)
    after = {run.key for run in holds(place).conversions}
    assert before <= after, f"lost: {before - after}"
    resumed(place, "batch_size=2")
    ended_with(place.resume(), 0)
    holds(place)


@scenario(
    fault="home, directory for temporary files and directory of the command have names like these",
    expected="all is measured and stored",
    cases={
        "blanks, quotes and dollars": ("a dir; with 'quotes' and $HOME",),
        "other scripts": ("käse 中文 \N{SLIGHTLY SMILING FACE}",),
        "250 characters": (LONG,),
        "a line break": ("two\nlines",),
        "percent and hash": ("50%2Fof #1?x=y&z",),
    },
)
def odd_names(place: Place, name: str) -> None:
    odd = place.root / name
    odd.mkdir(parents=True)
    place.home.rename(odd / "home")
    place.name = f"{name}/home"
    resumed(place, TMPDIR=str(odd))
    synced(place)


@scenario(
    fault="the home is on a file system like this",
    expected="all is measured and stored",
    cases={"without programs": ("noexec,nosuid,nodev",), "without times of access": ("noatime",)},
)
def a_restricted_disk(place: Place, options: str) -> None:
    with mounted(place.home, options), mounted(place.root / "tmp", options):
        resumed(place)
        synced(place)


@scenario(
    fault="the home is on a file system that becomes read-only in the middle, as after an error of the disk",
    expected="the job ends with one line; once it is writable, `resume=true` measures what is missing",
)
def the_disk_becomes_read_only(place: Place) -> None:
    refused = tuple(Fault("raise", f"before {what} written", nth, 0, number=errno.EROFS) for what, nth in WRITES)
    ended = fired(ended_with(place.run(faults=refused), 0, 1))
    one_line(ended, "Read-only file system")
    resumed(place)
    synced(place)
    tidy(place)


@scenario(
    fault="the home is read-only from the start",
    expected="exit code 1 with one line, and nothing is measured",
)
def a_read_only_home(place: Place) -> None:
    shutil.rmtree(place.home)
    with mounted(place.home, "ro"):
        one_line(ended_with(place.run(), 1), "Read-only file system")


@scenario(
    fault="the file system of the jobs has no more files to give, or the user no more space (a quota)",
    expected="one line or a complete job; `resume=true` measures what is missing, and the store has each result once",
    cases={f"{count} files": (f"nr_inodes={count}", False) for count in (8, 16, 24)}
    | {f"a quota of {size} kB": (f"usrquota,usrquota_block_hardlimit={size}k", True) for size in (16, 48)},
)
def no_more_files(place: Place, options: str, as_nobody: bool) -> None:
    with mounted(place.home / "jobs", options):
        if as_nobody:
            give(place, NOBODY)
            place.environment = {"FAULTS_USER": NOBODY}
        ended_with(place.run(), 0, 1)
        place.environment = {}
    holds(place)
    resumed(place)
    synced(place)


def give(place: Place, user: str) -> None:
    """Let all of the place belong to another user.

    Raises:
        NotHereError: only root may do so.
    """
    if os.geteuid() != 0:
        reason = "only root may become another user"
        raise NotHereError(reason)
    place.root.chmod(0o755)
    for path in (place.root, *place.root.rglob("*")):
        os.chown(path, int(user), int(user), follow_symlinks=False)


@scenario(
    fault="the directory for temporary files is emptied, or removed, while a job runs",
    expected="the job goes on to its end, and all is stored",
    cases={"emptied": (False,), "removed": (True,)},
)
def temporary_files_are_removed(place: Place, wholly: bool) -> None:
    command = place.start(*place.measuring(), faults=(Fault("hold", "before round", 5),))
    command.wait_for("held")
    shutil.rmtree(place.root / "tmp")
    if not wholly:
        (place.root / "tmp").mkdir()
    command.go_on()
    ended_with(command.end(), 0)
    synced(place)
    (place.root / "tmp").mkdir(exist_ok=True)
    resumed(place)


@scenario(
    fault="the directory of the command is removed while it runs, or was removed before",
    expected="the job goes on to its end, or ends with one line",
    cases={"while it runs": (False,), "before": (True,)},
)
def the_working_directory_is_removed(place: Place, before: bool) -> None:
    there = place.root / "there"
    there.mkdir()
    if before:
        faults = (Fault("call", "start", target="os:chdir", arguments=(str(there),)), remove(there))
        ended = ended_with(place.run(faults=faults), 0, 1, 2)
        assert ended.code == 0 or ended.err.count("\n") <= 2, ended
    else:
        faults = (Fault("call", "start", target="os:chdir", arguments=(str(there),)), Fault("hold", "before round", 5))
        shutil.copy(place.root / "sleepy.py", there)
        command = place.start(*place.measuring(), faults=faults)
        command.wait_for("held")
        shutil.rmtree(there)
        command.go_on()
        ended_with(command.end(), 0)
        assert len(synced(place).conversions) == 2
    resumed(place)


def remove(directory: Path) -> Fault:
    return Fault("call", "start", target="os:rmdir", arguments=(str(directory),))
