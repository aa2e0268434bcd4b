"""A job's record while it runs: every outcome goes to its place in the plan, to disk, and then to the store."""

from __future__ import annotations

import errno
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from almaflow.analysis import outcome_metrics
from almaflow.errors import AlmaflowError, TrackingError
from almaflow.jobs.artifacts import write_reproduction
from almaflow.jobs.store import disk_error
from almaflow.measure.conversion_run import ConversionRun
from almaflow.records import Failure, FailureKind, Outcome, Status
from almaflow.tracking.reader import ready_times

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from almaflow.jobs.context import JobContext
    from almaflow.jobs.files import JobFiles
    from almaflow.jobs.resume import Resumed
    from almaflow.predict.job_predictions import JobPredictions
    from almaflow.records import Drift, Job

NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
"""Error numbers of a disk, or a quota, that is full."""

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
        self._outcomes: dict[int, Outcome] = {}
        self._references: set[str] = set()

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
        self._files.write_job(self.job)  # so that a job that is killed from here on can be closed by `almaflow sync`
        self.keep([_unavailable(run) for run in runs if run.planned.unavailable])
        return [*references, *(run for run in runs if not run.planned.unavailable)]

    def keep(self, runs: Sequence[ConversionRun]) -> None:
        """Keep outcomes with their predictions: on disk, then in the store.

        Raises:
            AlmaflowError: the disk cannot be written; the store has what it would take all the same.
        """
        ended = [(run, run.outcome) for run in runs if run.outcome]
        predicted = self._predictions.outcomes(self.job, [outcome for _, outcome in ended])
        known = [(run, outcome) for (run, _), outcome in zip(ended, predicted, strict=True)]
        for _, outcome in known:
            self._place(outcome)
        full: OSError | None = None
        try:
            for run, outcome in known:
                self._files.write_outcome(run.directory, outcome)
                write_reproduction(run.directory, outcome, self.job)
            self._files.write_job(self.job)
        except OSError as error:  # what is not kept here may still reach the store
            full = error
        for run, outcome in known:
            if run.planned.name not in self._references:
                run_id = self._store.log(self.job, outcome, outcome_metrics(self.job, outcome), run.directory)
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
            status = Status.OK
        except OSError as error:
            if error.errno not in NO_SPACE and self._files.root.exists():
                raise
            full = disk_error(self._files.root, error)  # a worker's directory or task could not be written
        finally:
            self._progress.close()
            self.job = replace(self.job, ended_at=time.time())
            self._files.remove_scratch()
            try:
                self._files.root.mkdir(exist_ok=True)  # where somebody has removed it, so that the job can be closed
                self._files.write_job(self.job)
            except OSError as error:
                full = full or disk_error(self._files.root, error)
            self.job = self._store.close(self._files, self.job, status)
            if full:
                raise full

    def _expected_s(self) -> dict[str, float]:
        """Seconds by conversion from earlier jobs, where there are any and it is worth the look."""
        if len(self._request.plan) < WORTH_AN_ESTIMATE:
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
    planned, now = run.planned, time.time()
    failure = Failure(planned.unavailable_kind or FailureKind.UNSUPPORTED, planned.unavailable or "")
    run.outcome = Outcome(planned, Status.UNAVAILABLE, now, now, failure=failure)
    return run
