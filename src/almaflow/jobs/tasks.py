"""A new job's record, and what its workers are told."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.machine.identity import machine_id
from almaflow.processes.environment import module_search_path
from almaflow.records import Job, ModelTraits, WorkerTask
from almaflow.records.clock import now
from almaflow.secrets import mask

if TYPE_CHECKING:
    from almaflow.jobs.files import JobFiles
    from almaflow.jobs.request import Request


def new_job_id(at: float) -> str:
    """Return the ID of a job that begins now: the time by this machine's clock, and a random part."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(at))
    return f"{stamp}-{secrets.token_hex(3)}"


def new_job(request: Request) -> Job:
    """A job that has not begun; its directory is not made yet."""
    started = now()
    job_id = request.elsewhere.job_id if request.elsewhere else new_job_id(started)
    directory = request.elsewhere.directory if request.elsewhere else machine.home() / "jobs" / job_id
    return Job(
        job_id=job_id,
        directory=str(directory),
        model=mask(request.model),  # what is kept has no secrets; workers get the model as it is
        hardware=request.hardware,
        measure=request.measure,
        tier=request.tier,
        experiment_name=request.experiment_name,
        config=request.config,
        sweep_id=request.sweep_id,
        evaluate=mask(request.evaluate),
        environment=machine.environment(name for planned in request.plan for name in planned.traits.runtimes),
        started_at=started,
        choose=request.choose,
        machine=machine_id(),
    )


def reference_task(job: Job, request: Request, files: JobFiles) -> WorkerTask:
    """Tell the reference worker, whose directory is made, to build the model and run it eagerly."""
    return WorkerTask(
        model=request.model,
        evaluate=request.evaluate,
        keep_limit_mb=request.keep.limit_mb,
        hardware=job.hardware,
        measure=job.measure,
        conversion=None,
        work_dir=str(files.make_prepare_dir()),
        reference_path=str(files.reference),
        # A caller's own modules are found from where the command was started, as in the caller's process.
        sys_path=(str(Path.cwd()), *module_search_path()),
    )


def measuring_task(task: WorkerTask, job: Job, attempt: int) -> WorkerTask:
    """Tell every measuring worker what it shares with the others; the measurement loop fills in the rest.

    Args:
        task: The reference worker's.
        job: The job, prepared.
        attempt: Number of its first process: the rounds of different attempts were not taken next to each other.
    """
    digest = job.prepared.weights_digest if job.prepared else None
    traits = job.prepared.traits if job.prepared else ModelTraits()
    sources = job.prepared.sources if job.prepared else {}
    return replace(task, work_dir="", weights_digest=digest, traits=traits, sources=sources, replicate=attempt)
