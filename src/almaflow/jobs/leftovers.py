"""Takes up what a killed process left of its job: what was measured and not yet kept, and files that nobody needs."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.errors import RecordError
from almaflow.jobs.files import JobFiles
from almaflow.machine.directory_lock import BusyError
from almaflow.measure.interleave import settled
from almaflow.measure.outcomes import outcome_of, reports_of
from almaflow.measure.work_directory import end_work_directory, log_name
from almaflow.processes.worker_handle import WorkerExit
from almaflow.processes.worker_result import read_result
from almaflow.records import WorkerTask, read_json

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.records import Measurement, MeasureSpec, Outcome


def take_up(files: JobFiles) -> None:
    """Make outcomes of what the workers of a job had under way, and remove the rest of their files.

    A conversion whose last process had finished is measured, and any other is interrupted. Nobody else may have the job
    in hand, and no worker of it may run any more.
    """
    under_way = sorted(files.root.glob("conversions/*/work"))
    kept = dict(files.outcomes().values()) if under_way else {}
    for work in under_way:
        _take_up_one(files, work, kept.get(work.parent))
    for work in files.root.glob("references/*/work"):  # eager or inductor, beside what was to be measured
        shutil.rmtree(work, ignore_errors=True)
    files.remove_scratch()


def _take_up_one(files: JobFiles, work: Path, kept: Outcome | None) -> None:
    """Add what one process measured to what earlier ones did, unless the outcome has it."""
    task = _task(work)
    earlier = [kept.measurement] if kept and kept.measurement else []
    processes = {each.replicate for measurement in earlier for each in measurement.rounds}
    if task and task.conversion and task.replicate not in processes and (kept is None or kept.interrupted):
        result = read_result(work)
        outcome = outcome_of(
            task.conversion,
            kept.started_at if kept else (work / "task.json").stat().st_mtime,
            earlier,
            _timed(result.measurement, task.measure),
            WorkerExit(result, work / "worker.log", "measure"),
            interrupted=not (result.finished and len(processes) + 1 == task.measure.replicates),
        )
        ended_at = max(path.stat().st_mtime for path in work.iterdir())
        log = str(work.parent / log_name(len(processes)))
        files.write_outcome(work.parent, replace(outcome, ended_at=ended_at, log_path=log))
    end_work_directory(work.parent, len(processes - {task.replicate} if task else processes))


def _task(work: Path) -> WorkerTask | None:
    try:
        return read_json(work / "task.json", WorkerTask)
    except (OSError, RecordError):  # killed before it was written, or spoilt by converted code
        return None


def _timed(measurement: Measurement | None, spec: MeasureSpec) -> Measurement | None:
    """Return a measurement that has rounds, with whether it settled; what was not timed is of no use."""
    if measurement is None or not measurement.rounds:
        return None
    return replace(measurement, stable=settled(spec, reports_of(measurement)))


def remove_dead() -> None:
    """Remove the directories of almaflow's home whose jobs ended before they had begun: they have no record.

    A job that is being prepared has none either; it holds its lock.
    """
    for path in (machine.home() / "jobs").glob("*/lock"):
        files = JobFiles.of(path.parent)
        if any((files.root / name).exists() for name in ("job.json", "conversions")):
            continue
        with suppress(OSError, BusyError), files.locked():
            files.remove()
