"""Writes a running job to its store. What cannot be written there waits on disk, and the job goes on."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from almaflow.errors import AlmaflowError, TrackingError
from almaflow.jobs.sync import close_in_store
from almaflow.tracking.history import past_of
from almaflow.tracking.store import prepare
from almaflow.tracking.uris import display_uri, sqlite_path
from almaflow.tracking.writer import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from almaflow.jobs.files import JobFiles
    from almaflow.jobs.request import Request
    from almaflow.measure.progress import Progress
    from almaflow.records import Job, Outcome, PastMeasurement, Status

T = TypeVar("T")

LATER = "the job goes on, and `almaflow sync` writes what is missing"


class JobStore:
    """Writes to the store while it answers.

    After the first failure it is left alone until the job's end: a server that does not answer would be waited for
    again and again, between measurements. All that is missing by then is written in one go, or by ``almaflow sync``.
    """

    def __init__(self, uri: str, progress: Progress) -> None:
        """Touch nothing yet; ``uri`` is a resolved store."""
        self._uri = uri
        self._progress = progress
        self._tracker: Tracker | None = None
        self._answers = True
        self._waited_s = 0.0

    def prepare(self, experiment_name: str) -> None:
        """Make the store ready.

        Raises:
            TrackingError: a store on this machine is broken; one that is not here may come back.
            UsageError: the experiment was deleted.
        """
        self._try(lambda: prepare(self._uri, experiment_name), before=True)

    def past(self, request: Request) -> tuple[PastMeasurement, ...]:
        """Read what predictors may learn from; nothing where the store does not answer."""
        return self._try(lambda: past_of(self._uri, request.experiment_name, request.model, request.hardware)) or ()

    def open(self, job: Job) -> Job:
        """Create the job's run, or go on with it, and give the job with its ID.

        Raises:
            TrackingError: a store on this machine cannot be written; one that is not here may come back.
            UsageError: the experiment was deleted.
        """
        job = replace(job, store=display_uri(self._uri), tracked=False)
        self._tracker = self._try(lambda: Tracker.open(self._uri, job), before=True)
        return replace(job, run_id=self._tracker.run_id) if self._tracker else job

    def log(self, job: Job, outcome: Outcome, metrics: Mapping[str, float], directory: Path) -> str | None:
        """Write one conversion and give its run's ID; None where it has to wait."""
        tracker = self._tracker
        return self._try(lambda: tracker.log_outcome(job, outcome, metrics, directory)) if tracker else None

    def close(self, files: JobFiles, job: Job, status: Status) -> Job:
        """Write whatever is missing, end the job's run, and give the job with the IDs of its runs."""
        answered, self._answers = self._answers, True
        more = {"time/tracking": self._waited_s}
        closed = self._try(lambda: close_in_store(files, job, self._uri, status=status, more=more), say=answered)
        if closed and not answered:
            self._progress.note("the store answers again, and has everything now")
        return closed or job

    def _try(self, action: Callable[[], T], *, before: bool = False, say: bool = True) -> T | None:
        """Do it, and bear a store that does not answer: from then on nothing more is tried.

        A broken store on this machine is borne only once something is measured (``before`` is false).
        """
        if not self._answers:
            return None
        began = time.perf_counter()
        try:
            return action()
        except (TrackingError, OSError) as error:
            if before and sqlite_path(self._uri):
                raise
            self._answers = False
            if say:
                self._progress.warn(f"{error}; {LATER}")
        finally:
            self._waited_s += time.perf_counter() - began
        return None


def disk_error(root: Path, error: OSError) -> AlmaflowError:
    """Make the error of a disk that cannot be written, or of a job whose directory somebody has removed."""
    if not root.exists():
        message = f"{root}: the job's directory was removed while it ran; go on with resume=true, which measures only "
        return AlmaflowError(message + "what is not in the store yet")
    return AlmaflowError(
        f"{root}: cannot be written ({error.strerror}); free some space and go on with resume=true, which measures "
        "only what is not in the store yet"
    )
