"""A job's record while it runs: every outcome goes to its place in the plan, to disk, and then to the store."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from almaflow.analysis.rows import make_row
from almaflow.errors import AlmaflowError, TrackingError
from almaflow.jobs.artifacts import write_reproduction
from almaflow.jobs.kept import KeptModels
from almaflow.jobs.leftovers import take_up
from almaflow.jobs.store import disk_error
from almaflow.measure.conversion_run import ConversionRun
from almaflow.records import Failure, FailureKind, Outcome, Status
from almaflow.records.clock import now
from almaflow.records.trouble import ADVICE
from almaflow.tracking.reader import ready_times

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from almaflow.jobs.context import JobContext
    from almaflow.jobs.files import JobFiles
    from almaflow.jobs.resume import Resumed
    from almaflow.predict.job_predictions import JobPredictions
    from almaflow.records import Drift, Job

WORTH_AN_ESTIMATE = 10
"""Conversions: of fewer nobody asks how long they will take, and the look into the store takes a second."""


class JobRecord:
    """The job as far as it is known; ``job`` is replaced as it grows."""

    def __init__(self, context: JobContext, job: Job, files: JobFiles, predictions: JobPredictions) -> None:
        self.job = job
        self._request = context.request
        self._store = context.store
        self._progress = context.progress
        self._files = files
        self._predictions = predictions
        self._kept = KeptModels(files.root, context.request.keep, context.progress)
        self._outcomes: dict[int, Outcome] = {}
        self._references: set[str] = set()
        self._unwritten: list[tuple[ConversionRun, Outcome]] = []
        """What is known and not yet on disk."""

    def begin(self, resumed: Resumed) -> list[ConversionRun]:
        """Take over what is known, keep what cannot run here, and give what is to be measured."""
        plan, files = self._request.plan, self._files
        for outcome in self.job.outcomes:
            self._place(outcome)
        references = [
            ConversionRun(planned, files.reference_dir(plan.index(planned), planned, resumed.attempt))
            for planned in resumed.to_remeasure
        ]
        self._references = {run.planned.name for run in references}
        runs = [
            ConversionRun(planned, files.conversion_dir(plan.index(planned), planned)) for planned in resumed.to_measure
        ]
        if self.job.outcomes:
            self._progress.note(f"{len(self.job.outcomes)} of {len(plan)} conversions are in the store already")
        planned = (*resumed.to_remeasure, *resumed.to_measure)
        self._progress.start(planned, self._request.measure, self._expected_s())
        for note in self.job.prepared.notes if self.job.prepared else ():
            self._progress.warn(note)
        if lacking := self._request.keep.not_exportable:
            names = ", ".join(lacking)
            self._progress.note(f"keep=all: cannot be exported: {names}; `almaflow conversions --json` says why")
        self._files.write_job(self.job)  # so that a job that is killed from here on can be closed by `almaflow sync`
        self.keep([_unavailable(run) for run in runs if run.planned.unavailable])
        return [*references, *(run for run in runs if not run.planned.unavailable)]

    def keep(self, runs: Sequence[ConversionRun]) -> None:
        """Keep outcomes with their predictions: on disk, then in the store.

        Of a conversion that has further processes to come, what it has so far is kept on disk as an interrupted
        outcome: it counts as one should this process be killed.

        Raises:
            AlmaflowError: the disk cannot be written; the store has what it would take all the same.
        """
        outcomes = self._predictions.outcomes(self.job, [run.outcome or run.so_far() for run in runs])
        self._unwritten += zip(runs, outcomes, strict=True)
        known = [(run, outcome) for run, outcome in zip(runs, outcomes, strict=True) if run.outcome]
        for _, outcome in known:
            self._place(outcome)
        full: OSError | None = None
        try:
            self._write()
            self._kept.prune(self.job)
            if known:
                self._files.write_job(self.job)
        except OSError as error:  # what is not kept here may still reach the store
            full = error
            for run in runs:
                run.tidy()
        for run, outcome in known:
            if run.planned.name not in self._references:
                run_id = self._store.log(self.job, make_row(self.job, outcome), run.directory)
                self._place(replace(outcome, run_id=run_id))
            self._progress.finish(outcome)
        if full:
            raise disk_error(self._files.root, full) from full

    def end_measuring(self, drift: Drift | None, *, interrupted: bool) -> None:
        """Note how the measuring ended."""
        self.job = replace(self.job, drift=drift, interrupted=interrupted)

    @contextmanager
    def closed_at_end(self) -> Iterator[None]:
        """Write whatever is missing and end the job's run, however the block ends.

        Raises:
            AlmaflowError: the disk cannot be written.
        """
        status = Status.FAILED
        full: AlmaflowError | None = None
        try:
            yield
            if len(self._outcomes) == len(self._request.plan):
                status = Status.OK
        except KeyboardInterrupt:  # after the first one, which the loop heeds: what is on disk has to do
            self.job = replace(self.job, interrupted=True)
            self._take_up()
        except OSError as error:
            if error.errno not in ADVICE and self._files.root.exists():
                raise
            # A worker's directory or task could not be written, or no process be started.
            full = disk_error(self._files.root, error)
        finally:
            self._progress.close()
            self.job = replace(self.job, ended_at=now())
            try:
                self._files.root.mkdir(exist_ok=True)  # where somebody has removed it, so that the job can be closed
                self._files.remove_scratch()  # first, since it makes room where the disk is full
                self._write()  # where writing was interrupted
                self._kept.settle(self.job)
                self._files.write_job(self.job)
            except OSError as error:
                full = full or disk_error(self._files.root, error)
            try:
                self._progress.measured(self.job)
            finally:  # the store gets it wherever the table cannot be shown
                self.job = self._store.close(self._files, self.job, status)
            if full:
                raise full

    def _write(self) -> None:
        """Write to disk what is known and not there yet."""
        while self._unwritten:
            run, outcome = self._unwritten[0]
            self._files.write_outcome(run.directory, outcome)
            write_reproduction(run.directory, outcome, self.job)
            if run.planned.name not in self._references:
                self._kept.take(run, outcome)
            run.tidy()
            self._unwritten.pop(0)

    def _take_up(self) -> None:
        """Add the outcomes of what was under way and has not been given."""
        self._write()
        take_up(self._files)
        placed = {outcome.planned.name for outcome in self.job.outcomes}
        for name, (_, outcome) in self._files.outcomes().items():
            if name not in placed and outcome.planned in self._request.plan:
                self._place(outcome)

    def _expected_s(self) -> dict[str, float]:
        """Seconds by conversion from earlier jobs, where there are any and it is worth the look."""
        if len(self._request.plan) < WORTH_AN_ESTIMATE or self._request.elsewhere:
            return {}
        try:
            return ready_times(self.job, self._request.uri)
        except TrackingError:  # an estimate is not worth a warning
            return {}

    def _place(self, outcome: Outcome) -> None:
        """Put the outcome at its place in the plan, or among the references."""
        if outcome.planned.name in self._references:
            self.job = replace(self.job, references=(*self.job.references, outcome))
            return
        self._outcomes[self._request.plan.index(outcome.planned)] = outcome
        self.job = replace(self.job, outcomes=tuple(self._outcomes[index] for index in sorted(self._outcomes)))


def _unavailable(run: ConversionRun) -> ConversionRun:
    planned, at = run.planned, now()
    failure = Failure(planned.unavailable_kind or FailureKind.UNSUPPORTED, planned.unavailable or "")
    run.outcome = Outcome(planned, Status.UNAVAILABLE, at, at, failure=failure)
    return run
