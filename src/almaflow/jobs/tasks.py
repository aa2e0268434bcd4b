"""Before the first conversion: the job's record, its workers' tasks, and the model built once."""

from __future__ import annotations

import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.records import Job, WorkerTask

if TYPE_CHECKING:
    from almaflow.jobs.files import JobFiles
    from almaflow.jobs.request import Request
    from almaflow.measure.loop import ConversionRun


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
        environment=machine.environment(name for planned in request.plan for name in planned.traits.runtimes),
        started_at=started,
    )


def task_of(
    job: Job, work_dir: Path, files: JobFiles, entry: ConversionRun | None = None, replicate: int = 0
) -> WorkerTask:
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
