"""The files of a sweep. Each job writes a file of its own, wherever it runs, and needs no other job's nor the parent.

::

    sweeps/SWEEP_ID/
        sweep.json          the overrides, and how the sweep ended
        jobs/NNN.begun      one empty file for each job that began
        jobs/NNN.json       one file for each job that ended, well or not
        summary/            what becomes the artifacts of the sweep's run
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from filelock import FileLock

from almaflow import machine
from almaflow.analysis.output import completed
from almaflow.errors import RecordError
from almaflow.records import Sweep, SweepJob, read_json, write_json
from almaflow.secrets import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class SweepFiles:
    """The paths of one sweep's files."""

    root: Path

    @classmethod
    def of(cls, sweep_id: str) -> SweepFiles:
        """Return the files of the sweep of this name."""
        return cls(machine.home() / "sweeps" / sweep_id)

    @property
    def summary(self) -> Path:
        """The directory whose files become artifacts of the sweep's run."""
        return self.root / "summary"

    def lock(self) -> FileLock:
        """Return a lock for the command that runs the sweep; the system frees it when that process is gone."""
        self.root.mkdir(PRIVATE, parents=True, exist_ok=True)
        return FileLock(self.root / "lock", mode=0o600)

    def write(self, sweep: Sweep) -> None:
        """Write the record of the sweep."""
        self.root.mkdir(PRIVATE, parents=True, exist_ok=True)
        (self.root / "jobs").mkdir(exist_ok=True)
        write_json(self.root / "sweep.json", sweep)

    def read(self) -> Sweep:
        """Read the record of the sweep.

        Raises:
            FileNotFoundError: it has none.
            RecordError: the record is damaged, or of a form that is unknown here.
        """
        return read_json(self.root / "sweep.json", Sweep)

    def begin_job(self, number: int) -> None:
        """Mark that a job began: one that then leaves no file was lost with its process."""
        (self.root / "jobs" / f"{number:03d}.begun").touch(0o600)

    def write_job(self, job: SweepJob) -> None:
        """Write how one job ended."""
        write_json(self.root / "jobs" / f"{job.number:03d}.json", job)

    def begun(self) -> frozenset[int]:
        """Return the numbers of the jobs that began."""
        return frozenset(int(path.stem) for path in self.root.glob("jobs/[0-9]*.begun"))

    def remove(self) -> None:
        """Remove a sweep of which no job began."""
        shutil.rmtree(self.root, ignore_errors=True)

    def jobs(self) -> list[SweepJob]:
        """Read the jobs that ended, sorted by their number; one that cannot be read is left out with a warning."""
        jobs = []
        for path in self.root.glob("jobs/[0-9]*.json"):
            try:
                job = read_json(path, SweepJob)
                jobs.append(replace(job, output=completed(job.output)) if job.output else job)
            except RecordError as error:
                _warn(f"{path}: {error}" if str(path) not in str(error) else str(error))
        return sorted(jobs, key=lambda job: job.number)


def sweeps() -> Iterator[SweepFiles]:
    """Yield the sweeps of almaflow's home, the newest first; those that cannot be read are left out with a warning."""
    for path in sorted((machine.home() / "sweeps").glob("*/sweep.json"), reverse=True):
        files = SweepFiles(path.parent)
        try:
            files.read()
        except FileNotFoundError:  # removed since
            continue
        except RecordError as error:
            _warn(str(error))
            continue
        yield files


@cache
def _warn(line: str) -> None:
    """Warn once in a process, however often the file is read."""
    logging.getLogger("almaflow").warning("%s; it is left out", line)
