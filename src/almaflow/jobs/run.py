"""One job from its request to closed runs, as stages in order. Each stage gives its value to the next."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from almaflow.conversions.catalogue.preload import modules_for
from almaflow.jobs.context import JobContext
from almaflow.jobs.files import JobFiles
from almaflow.jobs.record import JobRecord
from almaflow.jobs.resume import Resumed, resume
from almaflow.jobs.store import JobStore
from almaflow.jobs.tasks import measuring_task, new_job, reference_task
from almaflow.machine.lock import alone
from almaflow.machine.monitor import StateWatch
from almaflow.measure.drift import DriftProbe
from almaflow.measure.loop import MeasurementLoop
from almaflow.measure.reference import reference_info
from almaflow.predict import PredictorPool
from almaflow.predict.job_predictions import JobPredictions
from almaflow.processes.interrupts import Interrupts
from almaflow.processes.launcher import Launcher
from almaflow.records import Resume
from almaflow.tracking.fingerprints import plan_fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from almaflow.jobs.request import Request
    from almaflow.measure.progress import Progress
    from almaflow.records import Job, PastMeasurement, WorkerTask


def run_job(request: Request, progress: Progress) -> Job:
    """Run a job to its end, or to its interruption: then the returned job says so.

    Raises:
        KeyboardInterrupt: interrupted before the first conversion, so that nothing was logged, or after the last.
        UsageError: the model does not build or run, or the experiment cannot be used; nothing was logged.
        AlmaflowError: the store on this machine is broken, the model could not be prepared, or another job measures and
            this one is not to wait: nothing was logged; or the disk is full: what was measured is kept.
    """
    with Interrupts() as interrupts, ExitStack() as running:
        context = JobContext(request, JobStore(request.uri, progress), progress, interrupts)
        running.enter_context(_machine_alone(context))
        job = new_job(request)
        files = JobFiles.of(job.directory)
        with _discarded_on_error(files), ExitStack() as starting:
            with interrupts.let_through():
                launcher = starting.enter_context(
                    Launcher(request.hardware, files.server_log, modules_for(request.model, request.plan))
                )
            # While the launcher's server imports, on another core.
            context.store.prepare(request.experiment_name)
            past = context.store.past(request)
            job, workers = _prepare(context, job, files, launcher, starting)
            predictions = _predict(context, job, past)
            resumed = _look_up(request, job)
            if resumed.note:
                progress.note(resumed.note)
            if not resumed.anything_to_do:
                starting.close()
                files.remove()
                count = len(resumed.job.outcomes)
                progress.note(f"nothing to measure: the store has the {count} conversions asked for")
                return replace(resumed.job, ended_at=time.time(), tracked=True)
            files = files.going_on_in(resumed.job.directory)
            starting.enter_context(files.locked())
            job = context.store.open(resumed.job)
            running.push(starting.pop_all())  # from here on it has begun, and its files stay
        record = JobRecord(context, job, files, predictions)
        _measure(context, record, resumed, workers)
        return record.job


@contextmanager
def _machine_alone(context: JobContext) -> Iterator[None]:
    """Be the only job that measures on this machine."""

    def on_wait(text: str) -> None:
        context.progress.warn(text)
        context.store.prepare(context.request.experiment_name)  # nobody should wait for a store that is broken

    with ExitStack() as stack:
        with context.interrupts.let_through():
            stack.enter_context(alone(context.request.measure.exclusive, on_wait))
        yield


@contextmanager
def _discarded_on_error(files: JobFiles) -> Iterator[None]:
    """Make the directory of a new job; remove it again where the job does not get to begin."""
    files.create()
    try:
        yield
    except BaseException:
        files.remove()
        raise


@dataclass(frozen=True)
class _Workers:
    """The job's workers: who starts them, what each is told, and the one that probes for drift."""

    launcher: Launcher
    task: WorkerTask
    probe: DriftProbe


def _prepare(
    context: JobContext, job: Job, files: JobFiles, launcher: Launcher, stack: ExitStack
) -> tuple[Job, _Workers]:
    """Build the model once and run it eagerly; the worker that did so stays and probes for drift."""
    task = reference_task(job, files)
    with context.interrupts.let_through():
        worker = stack.enter_context(
            closing(launcher.start(task, lambda phase: context.progress.phase(job.model.name, phase)))
        )
        job = replace(job, prepared=reference_info(job.model.name, worker))
    job = replace(job, plan_fingerprint=plan_fingerprint(job, context.request.plan))
    return job, _Workers(launcher, task, DriftProbe(worker))


def _predict(context: JobContext, job: Job, past: tuple[PastMeasurement, ...]) -> JobPredictions:
    """Ask the predictors, before anything is measured."""
    request = context.request
    predictions = JobPredictions(request.predictors, past, PredictorPool(context.progress.warn), request.learnt)
    predictions.before(job, request.plan)
    return predictions


def _look_up(request: Request, job: Job) -> Resumed:
    """Find out what the store has of the job already, where it is to be resumed."""
    if request.resume is Resume.NO:
        return Resumed(job, request.plan, ())
    return resume(job, request.plan, request.uri, failures_only=request.resume is Resume.FAILED)


def _measure(context: JobContext, record: JobRecord, resumed: Resumed, workers: _Workers) -> None:
    """Measure what the store lacks, and keep each outcome as soon as it is known: on disk first, then in the store."""
    request, interrupts = context.request, context.interrupts
    with record.closed_at_end():
        runs = record.begin(resumed)
        loop = MeasurementLoop(
            task=measuring_task(workers.task, record.job, resumed.attempt),
            launcher=workers.launcher,
            probe=workers.probe,
            monitor=StateWatch(request.hardware.device, request.hardware.cpus),
            progress=context.progress,
            interrupts=interrupts,
            fail_fast=request.fail_fast,
        )
        for known in loop.run(runs):
            try:
                record.keep(known)
            except BaseException as error:  # noqa: BLE001 - raised by the loop, once what runs has ended and was kept
                loop.stop(error)
        record.end_measuring(workers.probe.drift(), interrupted=loop.interrupted or interrupts.take())
