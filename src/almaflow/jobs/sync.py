"""Writes a job's files to the store: at the job's end, and later where the store missed something."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.analysis import analyse, job_metrics
from almaflow.analysis.rows import make_row
from almaflow.errors import AlmaflowError, RecordError, TrackingError
from almaflow.jobs.artifacts import write_summary
from almaflow.jobs.files import JobFiles
from almaflow.jobs.leftovers import remove_dead, take_up
from almaflow.jobs.model_logging import log_kept, waits
from almaflow.machine.directory_lock import BusyError
from almaflow.records import Job, Status
from almaflow.report.markdown import line
from almaflow.tracking.replay import Result, catch_up
from almaflow.tracking.schema import marks, verdict_tags
from almaflow.tracking.store import answers
from almaflow.tracking.uris import display_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


def close_in_store(  # noqa: PLR0913 - a job, and how it ended
    files: JobFiles,
    job: Job,
    uri: str,
    *,
    status: Status = Status.OK,
    more: Mapping[str, float] | None = None,
    models: bool = True,
) -> Job:
    """Bring the store up to date with a job, end its run there, and log its models where it asks for that.

    Args:
        files: The job's files, which are brought up to date first.
        job: The job at its end.
        uri: A resolved store.
        status: ``ok``, or ``failed`` for a job that could not do its work.
        more: Further figures of the job's own run.
        models: Whether to log models now, which may take long; otherwise ``almaflow sync`` does.

    Returns:
        The job with the IDs of its runs; not ``tracked`` where an outcome's file cannot be read, or models wait.

    Raises:
        TrackingError: the store cannot be reached or written; the files are kept, and doing it again does no harm.
        UsageError: the job's experiment was deleted.
    """
    unreadable: list[RecordError] = []
    kept = files.outcomes(unreadable)
    verdict = analyse(job)
    results = [
        Result(row.outcome, row.metrics, kept[row.name][0], line(row), marks(verdict, row.name))
        for row in (make_row(job, outcome) for outcome in job.outcomes)
        if row.outcome.job_id is None and row.name in kept
    ]
    tracker, run_ids = catch_up(uri, job, results)
    outcomes = (replace(each, run_id=run_ids.get(each.planned.name, each.run_id)) for each in job.outcomes)
    job = replace(job, run_id=tracker.run_id if tracker else None, outcomes=tuple(outcomes))
    if tracker:
        verdict = analyse(job)  # with the IDs of the runs
        summary = write_summary(files, job, verdict)
        figures = job_metrics(job) | dict(more or {})
        tracker.close(job, figures, summary, files.summary, status, verdict_tags(verdict))
    files.write_job(replace(job, tracked=False))  # the IDs of its runs, should its models fail
    if tracker and models:
        return log_waiting(files, job, uri)
    job = replace(job, tracked=not unreadable and not (tracker and waits(job)))
    files.write_job(job)
    return job


def log_waiting(files: JobFiles, job: Job, uri: str) -> Job:
    """Log the models that a job asks for, whose runs are in the store and closed.

    Returns:
        The job, ``tracked`` unless an outcome's file cannot be read.

    Raises:
        TrackingError: models could not be logged; doing it again does no harm.
    """
    log_kept(job, uri)
    unreadable: list[RecordError] = []
    files.outcomes(unreadable)
    job = replace(job, tracked=not unreadable)
    files.write_job(job)
    return job


@dataclass(frozen=True)
class Synced:
    """The result of a sync for one job that the store did not have wholly."""

    directory: Path
    job: Job | None
    """None where its record cannot be read."""
    why_not: str | None = None
    """What keeps it, or a part of it, from the store; None where all of it is there now."""


def pending(uri: str | None = None) -> Iterator[tuple[JobFiles, Job]]:
    """Jobs of almaflow's home that their store does not have wholly, the oldest first.

    Args:
        uri: Only those that belong into this resolved store.
    """
    for files, job in _waiting(uri):
        if isinstance(job, Job):
            yield files, job


def _waiting(uri: str | None) -> Iterator[tuple[JobFiles, Job | RecordError]]:
    """The same, and those whose record cannot be read, with the reason: they may belong into any store."""
    for directory in sorted((machine.home() / "jobs").glob("*/")):
        files = JobFiles.of(directory)
        if not os.access(directory, os.R_OK | os.X_OK):
            yield files, RecordError(f"{directory} cannot be read")
            continue
        if files.tracked.exists() or not (directory / "job.json").exists():
            continue
        try:
            job = files.read_job()
        except FileNotFoundError:  # removed since
            continue
        except RecordError as error:
            yield files, error
            continue
        if job.store and not job.tracked and (uri is None or job.store == display_uri(uri)):
            yield files, job


def sync(uri: str, wanted: Callable[[Job], bool] = lambda _: True) -> Iterator[Synced]:
    """Write to a resolved store whatever jobs of almaflow's home it lacks; jobs that still run are left alone.

    What keeps one job from the store is told with that job, and the others are written.

    Args:
        uri: A resolved store.
        wanted: Whether a job is to be written.

    Raises:
        TrackingError: the store cannot be reached.
    """
    remove_dead()
    for files, job in _waiting(uri):
        if isinstance(job, RecordError):
            yield Synced(files.root, None, f"{job}; restore the file, or move {files.root} away")
            continue
        try:
            with files.locked():
                yield (
                    write_to_store(files, uri)
                    if wanted(job)
                    else Synced(files.root, job, "it waits for `almaflow sync`")
                )
        except BusyError:  # it will look after itself
            continue
        except TrackingError as error:
            if not answers(uri):
                raise
            yield Synced(files.root, job, f"{error}")
        except Exception as error:  # noqa: BLE001 - a record may be readable and senseless, and others wait behind it
            why = str(error) if isinstance(error, AlmaflowError) else f"{type(error).__name__}: {error}"
            yield Synced(files.root, job, why)


def write_to_store(files: JobFiles, uri: str) -> Synced:
    """Write one job, whose lock is held, to its store; one whose process was killed is closed as interrupted.

    Raises:
        TrackingError: the store cannot be reached or written.
    """
    take_up(files)
    job = files.read_job()
    files.write_lost_outcomes(job)
    if job.ended_at is None:  # its process was killed
        ended_at = max([job.started_at, *(each.ended_at for each in job.outcomes)])
        job = replace(job, interrupted=True, ended_at=ended_at)
    job = close_in_store(files, job, uri)
    if job.tracked:
        return Synced(files.root, job)
    unreadable: list[RecordError] = []
    files.outcomes(unreadable)
    why = "; ".join(map(str, unreadable))
    hint = "delete the file, and `almaflow sync` writes the copy in job.json, or else resume=true measures it again"
    return Synced(files.root, job, f"{why} ({hint}); all the rest is written")
