"""A job on disk: everything is written here before MLflow sees any of it.

::

    jobs/JOB_ID/
        job.json                    the whole job, rewritten after each conversion
        summary/                    what becomes the artifacts of the job's run
        conversions/NN-NAME/        what becomes the artifacts of that conversion's run
            outcome.json, samples_ms.json, worker.log, traceback.txt, reproduce.py
            work/                   the worker's directory, removed when what it measured is in outcome.json
        tracked                     there once the store has all of it
        references/NN-NAME-N/       eager and inductor, measured again beside what the Nth resumption measured
        lock                        held by whoever writes here or to the job's runs in MLflow
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow.conversions.catalogue.plan import with_traits
from almaflow.errors import RecordError
from almaflow.machine.directory_lock import locked
from almaflow.records import Job, Outcome, PlannedConversion, read_json, write_json
from almaflow.secrets import PRIVATE
from almaflow.tracking.uris import store_of_home

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


@dataclass(frozen=True)
class JobFiles:
    """The places of one job's files."""

    root: Path
    scratch: Path
    """What only the workers need; for a job that is resumed, the directory of the new attempt."""

    @classmethod
    def of(cls, directory: Path | str) -> JobFiles:
        """The files of a job whose directory this is."""
        return cls(Path(directory), Path(directory))

    def going_on_in(self, directory: Path | str) -> JobFiles:
        """Give the files of the job that this attempt goes on with; what only the workers need stays here."""
        root = Path(directory)
        root.mkdir(PRIVATE, parents=True, exist_ok=True)  # not there where another machine began the job
        root.chmod(PRIVATE)
        return JobFiles(root, self.scratch)

    @property
    def reference(self) -> Path:
        """Inputs and eager outputs, for the workers."""
        return self.scratch / "reference.pt"

    @property
    def server_log(self) -> Path:
        """Log of the server that forks the workers."""
        return self.scratch / "server.log"

    @property
    def summary(self) -> Path:
        """Artifacts of the job's run."""
        return self.root / "summary"

    def create(self) -> None:
        """Make the directory of a new job, for this user alone: inputs and secrets of the model are below it."""
        self.root.mkdir(PRIVATE, parents=True)

    def locked(self) -> AbstractContextManager[None]:
        """Be the only one to write here and to the job's runs; the system gives the lock back with the process.

        Raises:
            BusyError: the job is running, or is being written to the store.
        """
        return locked(self.root, f"the job in {self.root} is still running; wait for its end")

    def make_prepare_dir(self) -> Path:
        """Make the reference worker's directory."""
        path = self.scratch / "prepare"
        path.mkdir()
        return path

    def conversion_dir(self, index: int, planned: PlannedConversion) -> Path:
        """The directory of a conversion, made anew: what is there was interrupted, or is measured again."""
        path = self.root / "conversions" / _directory_name(index, planned)
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def reference_dir(self, index: int, planned: PlannedConversion, attempt: int) -> Path:
        """The directory of a conversion that is only measured again for the others to be compared with."""
        path = self.root / "references" / f"{_directory_name(index, planned)}-{attempt}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def outcomes(self, unreadable: list[RecordError] | None = None) -> dict[str, tuple[Path, Outcome]]:
        """Directory and outcome of every conversion that got so far, by its name.

        Args:
            unreadable: Gets the error of each file that cannot be read, and is left out.
        """
        found: dict[str, tuple[Path, Outcome]] = {}
        for path in sorted(self.root.glob("conversions/*/outcome.json")):
            try:
                outcome = with_traits(read_json(path, Outcome))
            except RecordError as error:
                if unreadable is not None:
                    unreadable.append(error)
                continue
            if outcome.log_path:
                outcome = replace(outcome, log_path=str(path.parent / outcome.log_path))
            found[outcome.planned.name] = path.parent, outcome
        return found

    def read_job(self) -> Job:
        """The job as far as it got, with outcomes that were kept after ``job.json`` was written for the last time.

        Raises:
            FileNotFoundError: the job has no record.
            RecordError: the record is damaged, or of a form that is unknown here.
        """
        job = self._here(read_json(self.root / "job.json", Job))
        known = {outcome.planned.name: with_traits(outcome) for outcome in job.outcomes}
        for name, (_, outcome) in self.outcomes().items():
            if name not in known or known[name].started_at < outcome.started_at:
                known[name] = outcome
        return replace(job, outcomes=tuple(known.values()), references=tuple(map(with_traits, job.references)))

    def _here(self, job: Job) -> Job:
        """The job as it is where its home was moved to; the home's own store was moved with it."""
        before, home = Path(job.directory).parent.parent, self.root.parent.parent
        moved = job.store == store_of_home(before)
        return replace(job, directory=str(self.root), store=store_of_home(home) if moved else job.store)

    def write_lost_outcomes(self, job: Job) -> None:
        """Write each outcome that only the job's record has into the directory of its conversion again."""
        directories = {path.name.partition("-")[2]: path for path in self.root.glob("conversions/*-*")}
        for outcome in job.outcomes:
            directory = directories.get(_file_name(outcome.planned))
            if directory and outcome.job_id is None and not (directory / "outcome.json").exists():
                self.write_outcome(directory, outcome)

    def write_outcome(self, directory: Path, outcome: Outcome) -> None:
        """Keep one outcome: the record, and apart from it what a person or a script opens first."""
        # It becomes an artifact, which has no path of this machine in it.
        log = Path(outcome.log_path).name if outcome.log_path else None
        write_json(directory / "outcome.json", replace(outcome, log_path=log))
        if outcome.measurement:
            write_json(directory / "samples_ms.json", list(outcome.measurement.samples_ms))
        if outcome.failure and outcome.failure.traceback:
            (directory / "traceback.txt").write_text(outcome.failure.traceback, encoding="utf-8")

    @property
    def tracked(self) -> Path:
        """Says without reading the record, which holds every sample, that the store has all of it."""
        return self.root / "tracked"

    def write_job(self, job: Job) -> None:
        """Keep the job as far as it is known."""
        if not job.tracked:
            self.tracked.unlink(missing_ok=True)
        write_json(self.root / "job.json", job)
        if job.tracked:
            self.tracked.touch()

    def remove_scratch(self) -> None:
        """Remove what only the workers needed."""
        if self.scratch != self.root:
            shutil.rmtree(self.scratch, ignore_errors=True)
        for path in (self.reference, self.reference.with_name("calibration.pt")):
            path.unlink(missing_ok=True)
        self.server_log.unlink(missing_ok=True)
        for directory in (self.root / "prepare", *self.root.glob("*/*/cache")):
            shutil.rmtree(directory, ignore_errors=True)

    def remove(self) -> None:
        """Remove a job that never began."""
        shutil.rmtree(self.scratch, ignore_errors=True)


def _directory_name(index: int, planned: PlannedConversion) -> str:
    return f"{index:02d}-{_file_name(planned)}"


def _file_name(planned: PlannedConversion) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", planned.name)
