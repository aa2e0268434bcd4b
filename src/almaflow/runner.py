"""The way through the house: plan, measure, predict, record, track, for one job."""

from __future__ import annotations

import secrets
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.analysis import analyse, job_metrics, outcome_metrics
from almaflow.errors import AlmaflowError, TrackingError, UsageError
from almaflow.interrupts import Interrupts
from almaflow.jobfiles import JobFiles
from almaflow.measure.drift import Control
from almaflow.measure.exclusive import alone
from almaflow.measure.launcher import Launcher
from almaflow.measure.preload import modules_for
from almaflow.measuring import Entry, Measuring
from almaflow.records import (
    Failure,
    FailureKind,
    Job,
    Outcome,
    Prepared,
    Status,
    WorkerTask,
)
from almaflow.tracking.reader import ready_times
from almaflow.tracking.store import prepare as prepare_store
from almaflow.tracking.writer import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from almaflow.measure.watch import Worker
    from almaflow.report.progress import Progress
    from almaflow.request import Request


WORTH_AN_ESTIMATE = 10
"""Conversions: of fewer nobody asks how long they will take, and the look into the store takes a second."""


def run_job(request: Request, progress: Progress) -> Job:
    """Run a job to its end, or to its interruption: then the returned job says so.

    Raises:
        KeyboardInterrupt: interrupted before the first conversion, so that nothing was logged, or after the last.
        UsageError: the model does not build or run, or the experiment cannot be used; nothing was logged.
        AlmaflowError: the store is broken, the model could not be prepared, or another job measures and this one is not
            to wait; nothing was logged.
    """
    with Interrupts() as interrupts, ExitStack() as stack:

        def warn_and_check(text: str) -> None:
            progress.warn(text)
            prepare_store(request.uri, request.experiment_name)  # nobody should wait for a store that is broken

        with interrupts.let_through():
            stack.enter_context(alone(request.measure.exclusive, warn_and_check))
        job = _new_job(request)
        files = JobFiles(Path(job.directory))
        files.create()
        try:
            with interrupts.let_through():
                launcher = stack.enter_context(
                    Launcher(request.hardware, files.root / "server.log", modules_for(request.model, request.plan))
                )
            # While the server imports, on another core.
            prepare_store(request.uri, request.experiment_name)
            with interrupts.let_through():
                control = launcher.start(
                    _task(job, files.prepare_dir(), files), lambda phase: progress.phase(job.model.name, phase)
                )
                stack.callback(control.close)
                job = replace(job, prepared=_prepare(job, control))
            began = time.perf_counter()
            tracker = Tracker.open(request.uri, job, sweep_id=request.sweep_id)
            tracking_s = time.perf_counter() - began
        except BaseException:
            stack.close()
            files.remove()
            raise
        runner = _Runner(request, replace(job, run_id=tracker.run_id), files, tracker, progress, interrupts, tracking_s)
        return runner.run(launcher, Control(control))


@dataclass
class _Runner:
    request: Request
    job: Job
    files: JobFiles
    tracker: Tracker
    progress: Progress
    interrupts: Interrupts
    tracking_s: float
    """Spent waiting for MLflow so far."""
    _outcomes: dict[int, Outcome] = field(default_factory=dict)
    _logged: dict[str, dict[str, float]] = field(default_factory=dict)
    _warned: bool = False

    def run(self, launcher: Launcher, control: Control) -> Job:
        self.progress.start(self.request.plan, self.request.measure, self._expected())
        for note in self.job.prepared.notes if self.job.prepared else ():
            self.progress.warn(note)
        entries = [
            Entry(planned, self.files.conversion_dir(index, planned)) for index, planned in enumerate(self.request.plan)
        ]
        status = Status.FAILED
        try:
            self._done([_unavailable(entry) for entry in entries if entry.planned.unavailable])
            measuring = Measuring(
                spec=self.request.measure,
                hardware=self.request.hardware,
                launcher=launcher,
                control=control,
                task_of=lambda entry, replicate: _task(
                    self.job, self.files.work_dir(entry.directory), self.files, entry, replicate
                ),
                ended=lambda entry, replicate: self.files.end_work(entry.directory, replicate),
                done=self._done,
                progress=self.progress,
                interrupts=self.interrupts,
                fail_fast=self.request.fail_fast,
            )
            finished = measuring.run([entry for entry in entries if not entry.planned.unavailable])
            interrupted = not finished or self.interrupts.take()
            self.job = replace(self.job, interrupted=interrupted, drift=control.drift())
            status = Status.OK
        finally:
            self.progress.close()
            self._finish(status)
        return self.job

    def _expected(self) -> dict[str, float]:
        """From earlier jobs, where there are any and it is worth the look."""
        if len(self.request.plan) < WORTH_AN_ESTIMATE:
            return {}
        try:
            return ready_times(self.job, self.request.uri)
        except TrackingError:  # an estimate is not worth a warning
            return {}

    def _done(self, entries: Sequence[Entry]) -> None:
        """Keep outcomes on disk, then track them: what they are compared with is known by then."""
        known = [(entry, self._predicted(entry.outcome)) for entry in entries if entry.outcome]
        for entry, outcome in known:
            self.files.write_outcome(entry.directory, outcome, self.job)
            self._keep(outcome)
        self.files.write_job(self.job)
        for entry, outcome in known:
            self._keep(replace(outcome, run_id=self._track(outcome, entry.directory)))
            self.progress.finish(outcome)

    def _keep(self, outcome: Outcome) -> None:
        """Put the outcome at its place in the plan."""
        self._outcomes[self.request.plan.index(outcome.planned)] = outcome
        self.job = replace(self.job, outcomes=tuple(self._outcomes[index] for index in sorted(self._outcomes)))

    def _predicted(self, outcome: Outcome) -> Outcome:
        request = self.request
        if request.predictor is None:
            return outcome
        prediction = request.predictor.predict(
            request.model, request.hardware, outcome.planned, request.model.batch_size
        )
        return replace(outcome, prediction=prediction)

    def _track(self, outcome: Outcome, directory: Path) -> str | None:
        metrics = outcome_metrics(self.job, outcome)
        run_id = self._guarded(lambda: self.tracker.log_outcome(self.job, outcome, metrics, directory))
        if run_id:
            self._logged[run_id] = metrics
        return run_id

    def _guarded(self, write: Callable[[], str | None]) -> str | None:
        """Tracking may fail, the job may not: everything is on disk, and it is said once."""
        began = time.perf_counter()
        try:
            return write()
        except TrackingError as error:
            if not self._warned:
                self.progress.warn(str(error))
            self._warned = True
        finally:
            self.tracking_s += time.perf_counter() - began
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
        metrics = job_metrics(self.job) | {"time/tracking": self.tracking_s}
        self._guarded(lambda: self.tracker.close(self.job, metrics, summary, self.files.summary, status))


def _unavailable(entry: Entry) -> Entry:
    planned, now = entry.planned, time.time()
    failure = Failure(planned.unavailable_kind or FailureKind.UNSUPPORTED, planned.unavailable or "")
    entry.outcome = Outcome(planned, Status.UNAVAILABLE, now, now, failure=failure)
    return entry


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


def _task(job: Job, work_dir: Path, files: JobFiles, entry: Entry | None = None, replicate: int = 0) -> WorkerTask:
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


def _prepare(job: Job, worker: Worker) -> Prepared:
    """Build the model once and run it eagerly: a wrong model costs seconds, not a tier."""
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
