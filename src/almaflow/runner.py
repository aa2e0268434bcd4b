"""The way through the house: plan, measure, predict, record, track, for one job."""

from __future__ import annotations

import secrets
import shutil
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from almaflow import machine
from almaflow.analysis import analyse, outcome_metrics
from almaflow.errors import AlmaflowError, TrackingError, UsageError
from almaflow.interrupts import Interrupts
from almaflow.jobfiles import JobFiles
from almaflow.measure.exclusive import alone
from almaflow.measure.launcher import run_worker
from almaflow.records import (
    Failure,
    FailureKind,
    HardwareSpec,
    Job,
    MeasureSpec,
    ModelSpec,
    Outcome,
    PlannedConversion,
    Prepared,
    Status,
    WorkerTask,
)
from almaflow.tracking.store import prepare as prepare_store
from almaflow.tracking.writer import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.predict import Predictor
    from almaflow.report.progress import Progress


@dataclass(frozen=True)
class Request:
    """A validated job: what to measure, where, how, and where the results go."""

    model: ModelSpec
    hardware: HardwareSpec
    measure: MeasureSpec
    tier: int
    plan: tuple[PlannedConversion, ...]
    uri: str
    experiment_name: str
    config: dict[str, Any]
    predictor: Predictor | None = None
    fail_fast: bool = False
    sweep_id: str | None = None


def run_job(request: Request, progress: Progress) -> Job:
    """Run a job to its end, or to its interruption: then the returned job says so.

    Raises:
        KeyboardInterrupt: interrupted before the first conversion, so that nothing was logged, or after the last.
        UsageError: the model does not build or run, or the experiment cannot be used; nothing was logged.
        AlmaflowError: the store is broken, the model could not be prepared, or another job measures and this one is not
            to wait; nothing was logged.
    """
    with Interrupts() as interrupts, ExitStack() as machine_lock:
        prepare_store(request.uri, request.experiment_name)
        with interrupts.let_through():
            machine_lock.enter_context(alone(request.measure.exclusive, progress.warn))
        job = _new_job(request)
        files = JobFiles(Path(job.directory))
        files.create()
        try:
            with interrupts.let_through():
                job = replace(job, prepared=_prepare(job, files, progress))
            tracker = Tracker.open(request.uri, job, sweep_id=request.sweep_id)
        except BaseException:
            files.remove()
            raise
        return _Runner(request, replace(job, run_id=tracker.run_id), files, tracker, progress, interrupts).run()


@dataclass
class _Runner:
    request: Request
    job: Job
    files: JobFiles
    tracker: Tracker
    progress: Progress
    interrupts: Interrupts
    _logged: dict[str, dict[str, float]] = field(default_factory=dict)
    _warned: bool = False

    def run(self) -> Job:
        self.progress.start(self.request.plan)
        for note in self.job.prepared.notes if self.job.prepared else ():
            self.progress.warn(note)
        status = Status.FAILED
        try:
            for index, planned in enumerate(self.request.plan):
                outcome = self._one(index, planned)
                if outcome.interrupted or self.interrupts.take():
                    self.job = replace(self.job, interrupted=True)
                    break
                if self.request.fail_fast and outcome.status is Status.FAILED:
                    self.progress.warn(f"fail_fast: stopped after {planned.name} failed")
                    break
            status = Status.OK
        finally:
            self.progress.close()
            self._finish(status)
        return self.job

    def _one(self, index: int, planned: PlannedConversion) -> Outcome:
        directory = self.files.conversion_dir(index, planned)
        if planned.unavailable:
            now = time.time()
            kind = planned.unavailable_kind or FailureKind.UNSUPPORTED
            outcome = Outcome(planned, Status.UNAVAILABLE, now, now, failure=Failure(kind, planned.unavailable))
        else:
            outcome = self._measure(planned, directory)
        if self.request.predictor:
            request = self.request
            prediction = self.request.predictor.predict(
                request.model, request.hardware, planned, request.model.batch_size
            )
            outcome = replace(outcome, prediction=prediction)
        self.files.write_outcome(directory, outcome)
        self.job = replace(self.job, outcomes=(*self.job.outcomes, outcome))
        self.files.write_job(self.job)
        outcome = replace(outcome, run_id=self._track(outcome, directory))
        self.job = replace(self.job, outcomes=(*self.job.outcomes[:-1], outcome))
        self.progress.finish(outcome)
        return outcome

    def _measure(self, planned: PlannedConversion, directory: Path) -> Outcome:
        work_dir = directory / "work"
        work_dir.mkdir()
        task = _task(self.job, self.files, work_dir, planned)
        self.progress.phase(planned.name, "start")
        started = time.time()
        outcome = Outcome(planned, Status.FAILED, started, started, log_path=str(directory / "worker.log"))
        try:
            with self.interrupts.let_through():
                left = run_worker(task, lambda phase: self.progress.phase(planned.name, phase))
        except KeyboardInterrupt:
            outcome = replace(outcome, interrupted=True)
        else:
            result = left.result
            failure = result.failure
            if result.bad_input:
                failure = Failure(FailureKind.ERROR, result.bad_input, left.phase)
            ok = failure is None and result.measurement is not None and result.measurement.fidelity is not None
            outcome = replace(
                outcome,
                status=Status.OK if ok else Status.FAILED,
                measurement=result.measurement,
                failure=failure,
            )
        with suppress(FileNotFoundError):  # interrupted before it began, or converted code tidied up its directory
            (work_dir / "worker.log").replace(directory / "worker.log")
        shutil.rmtree(work_dir, ignore_errors=True)
        return replace(outcome, ended_at=time.time())

    def _track(self, outcome: Outcome, directory: Path) -> str | None:
        metrics = outcome_metrics(self.job, outcome)
        run_id = self._guarded(lambda: self.tracker.log_outcome(self.job, outcome, metrics, directory))
        if run_id:
            self._logged[run_id] = metrics
        return run_id

    def _guarded(self, write: Callable[[], str | None]) -> str | None:
        """Tracking may fail, the job may not: everything is on disk, and it is said once."""
        try:
            return write()
        except TrackingError as error:
            if not self._warned:
                self.progress.warn(str(error))
            self._warned = True
        return None

    def _finish(self, status: Status) -> None:
        self.job = replace(self.job, ended_at=time.time())
        for outcome in self.job.outcomes:
            # Speedups of what was measured before eager or inductor were known.
            metrics = outcome_metrics(self.job, outcome)
            late = {name: metrics[name] for name in metrics.keys() - self._logged.get(outcome.run_id or "", {}).keys()}
            if outcome.run_id and late:
                self._guarded(lambda o=outcome, m=late: self.tracker.add_metrics(o, m))  # type: ignore[misc]
        self.files.write_job(self.job)
        self.files.remove_scratch()
        summary = self.files.write_summary(self.job, analyse(self.job))
        self._guarded(lambda: self.tracker.close(self.job, _job_metrics(self.job), summary, self.files.summary, status))


def _new_job(request: Request) -> Job:
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
        environment=machine.environment(),
        started_at=started,
    )


def _task(job: Job, files: JobFiles, work_dir: Path, planned: PlannedConversion | None) -> WorkerTask:
    return WorkerTask(
        model=job.model,
        hardware=job.hardware,
        measure=job.measure,
        conversion=planned,
        work_dir=str(work_dir),
        reference_path=str(files.reference),
        weights_digest=job.prepared.weights_digest if job.prepared else None,
        # A caller's own modules are found from where the command was started, as in the caller's process.
        sys_path=(str(Path.cwd()), *(entry for entry in sys.path if entry)),
    )


def _prepare(job: Job, files: JobFiles, progress: Progress) -> Prepared:
    """Build the model once and run it eagerly: a wrong model costs seconds, not a tier."""
    left = run_worker(_task(job, files, files.prepare_dir(), None), lambda phase: progress.phase(job.model.name, phase))
    if left.result.bad_input:
        raise UsageError(left.result.bad_input)
    if left.result.prepared is None:
        failure = left.result.failure or Failure(FailureKind.CRASHED, "the worker ended without a result")
        tail = left.log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        message = f"the model {job.model.name} could not be prepared ({failure.kind}: {failure.message})"
        raise AlmaflowError("; ".join([message, *tail]))
    return left.result.prepared


def _job_metrics(job: Job) -> dict[str, float]:
    counts = {status: sum(outcome.status is status for outcome in job.outcomes) for status in Status}
    analysis = analyse(job)
    figures = {
        "best_latency_ms": analysis.best_latency_ms,
        "best_speedup_vs_eager": analysis.best_speedup_vs_eager,
        "best_speedup_vs_inductor": analysis.best_speedup_vs_inductor,
        "time/job": (job.ended_at or time.time()) - job.started_at,
    }
    known = {name: value for name, value in figures.items() if value is not None}
    return {f"conversions_{status}": float(count) for status, count in counts.items()} | known
