"""Writes a running job to its store. What cannot be written there waits on disk, and the job goes on."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from almaflow.errors import AlmaflowError, TrackingError, UsageError
from almaflow.jobs.model_logging import told
from almaflow.jobs.sync import close_in_store
from almaflow.records.trouble import advised
from almaflow.report.markdown import line
from almaflow.tracking.history import past_of
from almaflow.tracking.store import prepare
from almaflow.tracking.uris import display_uri, sqlite_path
from almaflow.tracking.writer import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from almaflow.analysis import Row
    from almaflow.jobs.files import JobFiles
    from almaflow.jobs.request import Request
    from almaflow.measure.progress import Progress
    from almaflow.records import Job, PastMeasurement, Status

T = TypeVar("T")

NEEDED = "resume has to ask what is in there: try again when the store answers, or measure all without resume"

LATER = "the job goes on, and `almaflow sync` writes what is missing"


class JobStore:
    """Writes to the store while it answers.

    After the first failure it is left alone until the job's end: a server that does not answer would be waited for
    again and again, between measurements. All that is missing by then is written in one go, or by ``almaflow sync``.
    """

    def __init__(self, uri: str, progress: Progress, *, needed: bool = False, absent: bool = False) -> None:
        """Touch nothing yet.

        Args:
            uri: A resolved store.
            progress: Shows what cannot be written.
            needed: Whether nothing can be measured unless the store answers at the start, as by ``resume=true``.
            absent: Whether another machine has the store, and records the job there.
        """
        self._uri = uri
        self._progress = progress
        self._tracker: Tracker | None = None
        self._needed = needed
        self._absent = absent
        self._answers = not absent
        self._waited_s = 0.0

    def prepare(self, experiment_name: str) -> None:
        """Make the store ready.

        Raises:
            TrackingError: a store on this machine is broken, or it is needed; another one may come back.
            UsageError: the experiment was deleted.
        """
        self._try(lambda: prepare(self._uri, experiment_name), before=True)

    def past(self, request: Request) -> tuple[PastMeasurement, ...]:
        """Read what predictors may learn from; nothing where the store does not answer."""
        if request.elsewhere:
            named = request.hardware.name, request.hardware.threads
            return tuple(each for each in request.elsewhere.past if (each.hardware, each.threads) == named)
        experiment, model, hardware = request.experiment_name, request.model, request.hardware
        return self._try(lambda: past_of(self._uri, experiment, model, hardware), before=self._needed) or ()

    def open(self, job: Job) -> Job:
        """Create the job's run, or go on with it, and give the job with its ID.

        Raises:
            TrackingError: a store on this machine cannot be written, or it is needed; another one may come back.
            UsageError: the experiment was deleted.
        """
        job = replace(job, store=display_uri(self._uri), tracked=False)
        self._tracker = self._try(lambda: Tracker.open(self._uri, job), before=True)
        return replace(job, run_id=self._tracker.run_id) if self._tracker else job

    def log(self, job: Job, row: Row, directory: Path) -> str | None:
        """Write one conversion and give its run's ID; None where it has to wait."""
        tracker = self._tracker
        if tracker is None:
            return None
        return self._try(lambda: tracker.log_outcome(job, row.outcome, row.metrics, directory, line(row)))

    def close(self, files: JobFiles, job: Job, status: Status) -> Job:
        """Write whatever is missing, end the job's run, and give the job with the IDs of its runs."""
        if self._absent:
            return job
        answered, self._answers = self._answers, True
        more = {"time/tracking": self._waited_s}
        models = not job.interrupted  # whoever interrupts a job doesn't wait for uploads
        closed = self._try(
            lambda: close_in_store(files, job, self._uri, status=status, more=more, models=models), say=answered
        )
        if closed and not answered:
            self._progress.note("the store answers again, and has everything now")
        if closed and closed.tracked and models and (line := told(closed)):
            self._progress.note(line)
        return closed or job

    def _try(self, action: Callable[[], T], *, before: bool = False, say: bool = True) -> T | None:
        """Do it, and bear a store that does not answer: from then on nothing more is tried.

        A store on this machine that is broken, one that is needed, and an experiment that was deleted are borne only
        once something is measured (``before`` is false).
        """
        if not self._answers:
            return None
        began = time.perf_counter()
        try:
            return action()
        except (TrackingError, UsageError, OSError) as error:
            if before and (sqlite_path(self._uri) or isinstance(error, UsageError)):
                raise
            if before and self._needed:
                message = f"{error}; {NEEDED}"
                raise TrackingError(message) from error
            self._answers = False
            if say:
                self._progress.warn(f"{error}; {LATER}")
        finally:
            self._waited_s += time.perf_counter() - began
        return None


def disk_error(root: Path, error: OSError) -> AlmaflowError:
    """Make the error of a disk that cannot be written, a machine that starts no process, a directory that is gone."""
    if not root.exists():
        told = f"{root}: the job's directory was removed while it ran; go on with resume=true"
    else:
        told = advised(f"the job in {root} cannot go on ({error.strerror})", error.errno)
    return AlmaflowError(f"{told}, which measures only what is not in the store yet")
