"""A job on disk: everything is written here before MLflow sees any of it.

::

    jobs/JOB_ID/
        job.json                    the whole job, rewritten after each conversion
        summary/                    what becomes the artifacts of the job's run
        conversions/NN-NAME/        what becomes the artifacts of that conversion's run
            outcome.json, samples_ms.json, worker.log, traceback.txt, reproduce.py
            work/                   the worker's directory, removed when it is done
"""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from almaflow.analysis import Analysis, to_output
from almaflow.errors import AlmaflowError
from almaflow.records import Job, Outcome, PlannedConversion, write_json
from almaflow.report.markdown import summary_markdown
from almaflow.report.reproduction import reproduction


@dataclass(frozen=True)
class JobFiles:
    """The places of one job's files."""

    root: Path

    @property
    def reference(self) -> Path:
        """Inputs and eager outputs, for the workers."""
        return self.root / "reference.pt"

    @property
    def summary(self) -> Path:
        """Artifacts of the job's run."""
        return self.root / "summary"

    def create(self) -> None:
        """Make the directory of a new job."""
        self.root.mkdir(parents=True)

    def prepare_dir(self) -> Path:
        """The preparing worker's directory."""
        path = self.root / "prepare"
        path.mkdir()
        return path

    def conversion_dir(self, index: int, planned: PlannedConversion) -> Path:
        """The directory of a conversion, made anew."""
        path = self.root / "conversions" / f"{index:02d}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', planned.name)}"
        path.mkdir(parents=True)
        return path

    def work_dir(self, directory: Path) -> Path:
        """The directory of a conversion's process, made anew."""
        path = directory / "work"
        path.mkdir()
        return path

    def end_work(self, directory: Path, replicate: int) -> None:
        """Keep the log of a conversion's process that has ended, and remove the rest."""
        with suppress(FileNotFoundError):  # interrupted before it began, or converted code tidied up its directory
            (directory / "work" / "worker.log").replace(directory / log_name(replicate))
        shutil.rmtree(directory / "work", ignore_errors=True)

    def write_outcome(self, directory: Path, outcome: Outcome, job: Job) -> None:
        """Keep one outcome: the record, and apart from it what a person or a script opens first."""
        write_json(directory / "outcome.json", outcome)
        if outcome.measurement:
            write_json(directory / "samples_ms.json", list(outcome.measurement.samples_ms))
        if outcome.failure and outcome.failure.traceback:
            (directory / "traceback.txt").write_text(outcome.failure.traceback, encoding="utf-8")
            script = reproduction(outcome, job)
            (directory / "reproduce.py").write_text(script, encoding="utf-8")

    def write_job(self, job: Job) -> None:
        """Keep the job as far as it is known."""
        write_json(self.root / "job.json", job)

    def write_summary(self, job: Job, analysis: Analysis) -> str:
        """Write the artifacts of the job's run; the summary in Markdown is also returned."""
        self.summary.mkdir(exist_ok=True)
        text = summary_markdown(job, analysis)
        (self.summary / "summary.md").write_text(text, encoding="utf-8")
        write_json(self.summary / "output.json", to_output(job))
        config = yaml.safe_dump(job.config, sort_keys=False, allow_unicode=True)
        (self.summary / "config.yaml").write_text(config, encoding="utf-8")
        return text

    def remove_scratch(self) -> None:
        """Remove what only the workers needed."""
        self.reference.unlink(missing_ok=True)
        (self.root / "server.log").unlink(missing_ok=True)
        for directory in (self.root / "prepare", *self.root.glob("conversions/*/cache")):
            shutil.rmtree(directory, ignore_errors=True)

    def remove(self) -> None:
        """Remove a job that never began."""
        shutil.rmtree(self.root, ignore_errors=True)


def log_name(replicate: int) -> str:
    """The log of a conversion's first process, or of a further one."""
    return f"worker-{replicate}.log" if replicate else "worker.log"


def write_output(path: str, job: Job) -> dict[str, Any]:
    """Write ``output=FILE.json``.

    Raises:
        AlmaflowError: the file cannot be written; the job's own files hold the same.
    """
    data = to_output(job)
    try:
        write_json(Path(path).expanduser(), data)
    except OSError as error:
        message = f"output={path}: could not be written ({error.strerror}); the same is in {job.directory}/summary"
        raise AlmaflowError(message) from error
    return data
