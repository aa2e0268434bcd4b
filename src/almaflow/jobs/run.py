"""One job from its request to closed runs, as stages in order. Each stage gives its value to the next."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from almaflow.analysis.choose import BY_LATENCY
from almaflow.analysis.verdict import may_be_best
from almaflow.conversions.catalogue.preload import modules_for
from almaflow.errors import AlmaflowError
from almaflow.jobs.answer import answer
from almaflow.jobs.context import JobContext
from almaflow.jobs.files import JobFiles
from almaflow.jobs.leftovers import remove_dead
from almaflow.jobs.record import JobRecord
from almaflow.jobs.resume import Resumed, resume
from almaflow.jobs.store import JobStore, disk_error
from almaflow.jobs.tasks import measuring_task, new_job, reference_task
from almaflow.machine.lock import alone
from almaflow.machine.monitor import StateWatch
from almaflow.measure.drift import DriftProbe
from almaflow.measure.keeping import Keeping
from almaflow.measure.loop import MeasurementLoop
from almaflow.measure.reference import reference_info
from almaflow.predict import PredictorPool
from almaflow.predict.job_predictions import JobPredictions
from almaflow.processes.interrupts import Interrupts
from almaflow.processes.launcher import Launcher
from almaflow.records import Resume
from almaflow.records.trouble import ADVICE, advised
from almaflow.tracking.fingerprints import plan_fingerprint
from almaflow.tracking.uris import display_uri

if TYPE_CHECKING:
    from collections.abc import Iterator

    from almaflow.jobs.request import Request
    from almaflow.measure.progress import Progress
    from almaflow.processes.launcher import AskedFor
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
        store = JobStore(
            request.uri, progress, needed=request.resume is not Resume.NO, absent=request.elsewhere is not None
        )
        context = JobContext(request, store, progress, interrupts)
        running.enter_context(_machine_alone(context))
        remove_dead()
        job = new_job(request)
        files = JobFiles.of(job.directory)
        with _discarded_on_error(files), ExitStack() as starting:
            starting.enter_context(files.locked())  # so that nobody takes it for dead while it has no record
            with interrupts.let_through():
                launcher = starting.enter_context(
                    Launcher(request.hardware, files.server_log, modules_for(request.model, request.plan))
                )
                reference = starting.enter_context(closing(launcher.ask(reference_task(job, request, files))))
            # While the launcher's server imports, and has the model prepared, on another core.
            context.store.prepare(request.experiment_name)
            past = context.store.past(request)
            job, workers = _prepare(context, job, launcher, reference, starting)
            predictions = _predict(context, job, past)
            resumed = _look_up(context, job)
            if resumed.note:
                progress.note(resumed.note)
            if not resumed.anything_to_do:
                starting.close()
                files.remove()
                return answer(context, resumed)
            files = files.going_on_in(resumed.job.directory)
            if files.root != files.scratch:
                starting.enter_context(files.locked())
            job = context.store.open(_recorded(files, resumed.job, request.uri))
            running.push(starting.pop_all())  # from here on it has begun, and its files stay
        record = JobRecord(context, job, files, predictions)
        _measure(context, record, resumed, workers)
        return record.job


def _recorded(files: JobFiles, job: Job, uri: str) -> Job:
    """Write the job before its run is made, so that ``almaflow sync`` closes the run should this process be killed."""
    job = replace(job, store=display_uri(uri), tracked=False)
    try:
        files.write_job(job)
    except OSError as error:
        raise disk_error(files.root, error) from error
    return job


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
    """Make the directory of a new job; remove it again where the job does not get to begin.

    Raises:
        AlmaflowError: the machine is in trouble, as by a full disk, or refuses a process.
    """
    files.create()
    try:
        yield
    except OSError as error:
        files.remove()
        if error.errno not in ADVICE:
            raise
        raise AlmaflowError(advised(f"the job cannot begin ({error.strerror})", error.errno)) from error
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
    context: JobContext, job: Job, launcher: Launcher, asked: AskedFor, stack: ExitStack
) -> tuple[Job, _Workers]:
    """Build the model once and run it eagerly; the worker that does so stays and probes for drift."""
    with context.interrupts.let_through():
        worker = stack.enter_context(
            closing(asked.started(lambda phase: context.progress.phase(job.model.name, phase)))
        )
        job = replace(job, prepared=reference_info(job.model.name, worker, context.request.choose.metrics))
        launcher.until_imported()  # nothing may compute beside the probe
    job = replace(job, plan_fingerprint=plan_fingerprint(job, context.request.plan))
    return job, _Workers(launcher, asked.task, DriftProbe(worker))


def _predict(context: JobContext, job: Job, past: tuple[PastMeasurement, ...]) -> JobPredictions:
    """Ask the predictors, before anything is measured."""
    request = context.request
    predictions = JobPredictions(
        request.predictors, past, PredictorPool(context.progress.warn), request.learnt, request.model
    )
    predictions.before(job, request.plan)
    return predictions


def _look_up(context: JobContext, job: Job) -> Resumed:
    """Find out what the store has of the job already, where it is to be resumed."""
    request = context.request
    if request.resume is Resume.NO:
        return Resumed(job, request.plan, ())
    failures_only, warn = request.resume is Resume.FAILED, context.progress.warn
    return resume(job, request.plan, request.uri, failures_only=failures_only, warn=warn)


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
            keeping=Keeping(
                request.keep.names - {each.name for each in resumed.to_remeasure},  # those are for comparing only
                # By another metric the best one is known at the end only.
                only_best=request.keep.only_best and request.choose.by in BY_LATENCY,
                may_be_best=lambda outcome: may_be_best(record.job, outcome),
            ),
        )
        with closing(loop.run(runs)) as measured:  # the workers have ended before what they left is looked at
            for known in measured:
                try:
                    record.keep(known)
                except BaseException as error:  # noqa: BLE001 - raised by the loop, once what runs has ended and was kept
                    loop.stop(error)
        record.end_measuring(workers.probe.drift(), interrupted=loop.interrupted or interrupts.take())
    if record.job.interrupted:
        interrupts.take()  # one that came since then says nothing more
