"""The way through the house: plan, measure, predict, record, track, for one job."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow.analysis import outcome_metrics
from almaflow.conversions.catalogue.preload import modules_for
from almaflow.errors import TrackingError
from almaflow.jobs.artifacts import write_reproduction
from almaflow.jobs.files import JobFiles
from almaflow.jobs.resume import Resumed, resume
from almaflow.jobs.store import JobStore, disk_error
from almaflow.jobs.tasks import new_job, task_of
from almaflow.machine.lock import alone
from almaflow.measure.drift import DriftProbe
from almaflow.measure.loop import ConversionRun, MeasurementLoop
from almaflow.measure.reference import prepare
from almaflow.predict import PredictorPool
from almaflow.predict.job_predictions import JobPredictions
from almaflow.processes.interrupts import Interrupts
from almaflow.processes.launcher import Launcher
from almaflow.records import (
    Failure,
    FailureKind,
    Job,
    Outcome,
    Resume,
    Status,
)
from almaflow.tracking.fingerprints import plan_fingerprint
from almaflow.tracking.reader import ready_times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.jobs.request import Request
    from almaflow.report.progress import Progress


WORTH_AN_ESTIMATE = 10
"""Conversions: of fewer nobody asks how long they will take, and the look into the store takes a second."""


def run_job(request: Request, progress: Progress) -> Job:
    """Run a job to its end, or to its interruption: then the returned job says so.

    Raises:
        KeyboardInterrupt: interrupted before the first conversion, so that nothing was logged, or after the last.
        UsageError: the model does not build or run, or the experiment cannot be used; nothing was logged.
        AlmaflowError: the store on this machine is broken, the model could not be prepared, or another job measures and
            this one is not to wait: nothing was logged; or the disk is full: what was measured is kept.
    """
    with Interrupts() as interrupts, ExitStack() as stack:
        store = JobStore(request.uri, progress)

        def warn_and_check(text: str) -> None:
            progress.warn(text)
            store.prepare(request.experiment_name)  # nobody should wait for a store that is broken

        with interrupts.let_through():
            stack.enter_context(alone(request.measure.exclusive, warn_and_check))
        job = new_job(request)
        files = JobFiles.of(job.directory)
        files.create()
        try:
            with interrupts.let_through():
                launcher = stack.enter_context(
                    Launcher(request.hardware, files.server_log, modules_for(request.model, request.plan))
                )
            # While the server imports, on another core.
            store.prepare(request.experiment_name)
            past = store.past(request)
            with interrupts.let_through():
                control = launcher.start(
                    task_of(job, files.prepare_dir(), files), lambda phase: progress.phase(job.model.name, phase)
                )
                stack.callback(control.close)
                job = replace(job, prepared=prepare(job, control))
            job = replace(job, plan_fingerprint=plan_fingerprint(job, request.plan))
            predicting = JobPredictions(request.predictors, past, PredictorPool(progress.warn), request.learnt)
            predicting.before(job, request.plan)
            resumed = Resumed(job, request.plan, ())
            if request.resume is not Resume.NO:
                resumed = resume(job, request.plan, request.uri, failures_only=request.resume is Resume.FAILED)
            files = JobFiles(Path(resumed.job.directory), files.scratch)
            job = resumed.job
            if resumed.left or resumed.to_close:
                files.root.mkdir(parents=True, exist_ok=True)  # not there where another machine began the job
                stack.enter_context(files.locked())
                job = store.open(job)
        except BaseException:
            stack.close()
            files.remove()
            raise
        if not (resumed.left or resumed.to_close):
            stack.close()
            files.remove()
            progress.note(f"nothing to measure: the store has the {len(job.outcomes)} conversions asked for")
            return replace(job, ended_at=time.time(), tracked=True)
        runner = _Runner(request, job, files, store, progress, interrupts, resumed, predicting)
        return runner.run(launcher, DriftProbe(control))


@dataclass
class _Runner:
    request: Request
    job: Job
    files: JobFiles
    store: JobStore
    progress: Progress
    interrupts: Interrupts
    resumed: Resumed
    predicting: JobPredictions
    _outcomes: dict[int, Outcome] = field(default_factory=dict)
    _again: list[ConversionRun] = field(default_factory=list)
    """What is measured for others to be compared with, its own outcome being known."""

    def run(self, launcher: Launcher, control: DriftProbe) -> Job:
        plan, left = self.request.plan, self.resumed.left
        for outcome in self.job.outcomes:
            self._keep(outcome)
        attempt = self.resumed.attempt
        self._again = [
            ConversionRun(planned, self.files.reference_dir(plan.index(planned), planned, attempt))
            for planned in self.resumed.again
        ]
        entries = [ConversionRun(planned, self.files.conversion_dir(plan.index(planned), planned)) for planned in left]
        if self.job.outcomes:
            self.progress.note(f"{len(self.job.outcomes)} of {len(plan)} conversions are in the store already")
        self.progress.start((*self.resumed.again, *left), self.request.measure, self._expected())
        for note in self.job.prepared.notes if self.job.prepared else ():
            self.progress.warn(note)
        status = Status.FAILED
        try:
            self.files.write_job(self.job)  # so that a job that is killed from here on can be closed by `almaflow sync`
            self._done([_unavailable(entry) for entry in entries if entry.planned.unavailable])
            measuring = MeasurementLoop(
                spec=self.request.measure,
                hardware=self.request.hardware,
                launcher=launcher,
                control=control,
                task_of=lambda entry, replicate: task_of(
                    self.job, self.files.work_dir(entry.directory), self.files, entry, attempt + replicate
                ),
                ended=lambda entry, replicate: self.files.end_work(entry.directory, replicate),
                done=self._done,
                progress=self.progress,
                interrupts=self.interrupts,
                fail_fast=self.request.fail_fast,
            )
            finished = measuring.run([*self._again, *(entry for entry in entries if not entry.planned.unavailable)])
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

    def _done(self, entries: Sequence[ConversionRun]) -> None:
        """Keep outcomes on disk, then track them: what they are compared with is known by then."""
        ended = [(entry, entry.outcome) for entry in entries if entry.outcome]
        predicted = self.predicting.outcomes(self.job, [outcome for _, outcome in ended])
        known = [(entry, outcome) for (entry, _), outcome in zip(ended, predicted, strict=True)]
        for entry, outcome in known:
            self._keep(outcome, again=entry in self._again)
        full: OSError | None = None
        try:
            for entry, outcome in known:
                self.files.write_outcome(entry.directory, outcome)
                write_reproduction(entry.directory, outcome, self.job)
            self.files.write_job(self.job)
        except OSError as error:  # what is not kept here may still reach the store
            full = error
        for entry, outcome in known:
            if entry not in self._again:
                run_id = self.store.log(self.job, outcome, outcome_metrics(self.job, outcome), entry.directory)
                self._keep(replace(outcome, run_id=run_id))
            self.progress.finish(outcome)
        if full:
            raise disk_error(self.files.root, full) from full

    def _keep(self, outcome: Outcome, *, again: bool = False) -> None:
        """Put the outcome at its place in the plan."""
        if again:
            self.job = replace(self.job, references=(*self.job.references, outcome))
            return
        self._outcomes[self.request.plan.index(outcome.planned)] = outcome
        self.job = replace(self.job, outcomes=tuple(self._outcomes[index] for index in sorted(self._outcomes)))

    def _finish(self, status: Status) -> None:
        self.job = replace(self.job, ended_at=time.time())
        self.files.remove_scratch()
        full: OSError | None = None
        try:
            self.files.write_job(self.job)
        except OSError as error:
            full = error
        self.job = self.store.close(self.files, self.job, status)
        if full:
            raise disk_error(self.files.root, full) from full


def _unavailable(entry: ConversionRun) -> ConversionRun:
    planned, now = entry.planned, time.time()
    failure = Failure(planned.unavailable_kind or FailureKind.UNSUPPORTED, planned.unavailable or "")
    entry.outcome = Outcome(planned, Status.UNAVAILABLE, now, now, failure=failure)
    return entry
