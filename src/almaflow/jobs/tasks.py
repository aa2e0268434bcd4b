"""Before the first conversion: the job's record, its workers' tasks, and the model built once."""

from __future__ import annotations

import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.errors import AlmaflowError, UsageError
from almaflow.records import Failure, FailureKind, Job, Prepared, WorkerTask

if TYPE_CHECKING:
    from almaflow.jobs.files import JobFiles
    from almaflow.processes.worker_handle import Worker
    from almaflow.measure.loop import Entry
    from almaflow.jobs.request import Request


def new_job(request: Request) -> Job:
    """A job that has not begun; its directory is not made yet."""
    started = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(started))
    job_id = f"{stamp}-{secrets.token_hex(3)}"
    return Job(
        job_id=job_id,
        directory=str(machine.home() / "jobs" / job_id),
        model=request.model,
        hardware=request.hardware,
        measure=request.measure,
        tier=request.tier,
        experiment_name=request.experiment_name,
        config=request.config,
        sweep_id=request.sweep_id,
        environment=machine.environment(),
        started_at=started,
    )


def task_of(job: Job, work_dir: Path, files: JobFiles, entry: Entry | None = None, replicate: int = 0) -> WorkerTask:
    """What a worker is told: to prepare the model, or to measure one conversion."""
    return WorkerTask(
        model=job.model,
        hardware=job.hardware,
        measure=job.measure,
        conversion=entry.planned if entry else None,
        work_dir=str(work_dir),
        reference_path=str(files.reference),
        weights_digest=job.prepared.weights_digest if job.prepared else None,
        replicate=replicate,
        # Later processes of the same conversion use what the first one compiled: they are for the timed calls.
        cache_dir=str(entry.directory / "cache") if entry and job.measure.replicates > 1 else None,
        # A caller's own modules are found from where the command was started, as in the caller's process.
        sys_path=(str(Path.cwd()), *(path for path in sys.path if path)),
    )


def prepare(job: Job, worker: Worker) -> Prepared:
    """Build the model once and run it eagerly: a wrong model costs seconds, not a tier.

    Raises:
        UsageError: the model does not build or run.
        AlmaflowError: the worker ended without a result.
    """
    worker.until_ready()
    worker.on_phase = lambda _phase: None  # as the control, it speaks for no conversion
    left = worker.left()
    if left.result.bad_input:
        raise UsageError(left.result.bad_input)
    if left.result.prepared is None or left.result.failure:
        failure = left.result.failure or Failure(FailureKind.CRASHED, "the worker ended without a result")
        tail = left.log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        message = f"the model {job.model.name} could not be prepared ({failure.kind}: {failure.message})"
        raise AlmaflowError("; ".join([message, *tail]))
    return left.result.prepared
