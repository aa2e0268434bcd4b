"""Writes a job's files to the store: at the job's end, and later where the store missed something."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.analysis import analyse, job_metrics, outcome_metrics
from almaflow.errors import AlmaflowError, UsageError
from almaflow.jobs.artifacts import write_summary
from almaflow.jobs.files import BusyError, JobFiles
from almaflow.jobs.leftovers import remove_dead, take_up
from almaflow.records import Job, Status
from almaflow.tracking.replay import Result, catch_up
from almaflow.tracking.uris import display_uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


def close_in_store(
    files: JobFiles, job: Job, uri: str, *, status: Status = Status.OK, more: Mapping[str, float] | None = None
) -> Job:
    """Bring the store up to date with a job and end its run there.

    Args:
        files: The job's files, which are brought up to date first.
        job: The job at its end.
        uri: A resolved store.
        status: ``ok``, or ``failed`` for a job that could not do its work.
        more: Further figures of the job's own run.

    Returns:
        The job with the IDs of its runs.

    Raises:
        TrackingError: the store cannot be reached or written; the files are kept, and doing it again does no harm.
        UsageError: the job's experiment was deleted.
    """
    kept = files.outcomes()
    results = [
        Result(outcome, outcome_metrics(job, outcome), kept[outcome.planned.name][0])
        for outcome in job.outcomes
        if outcome.job_id is None and outcome.planned.name in kept
    ]
    tracker, run_ids = catch_up(uri, job, results)
    outcomes = (replace(each, run_id=run_ids.get(each.planned.name, each.run_id)) for each in job.outcomes)
    job = replace(job, run_id=tracker.run_id, outcomes=tuple(outcomes))
    summary = write_summary(files, job, analyse(job))
    tracker.close(job, job_metrics(job) | dict(more or {}), summary, files.summary, status)
    job = replace(job, tracked=True)
    files.write_job(job)
    return job


@dataclass(frozen=True)
class Synced:
    """The result of a sync for one job that the store did not have wholly."""

    job: Job
    directory: Path
    results: int
    """Conversions that it has."""
    why_not: str | None = None
    """What keeps it from the store; None where it is there now."""


def pending(uri: str | None = None) -> Iterator[tuple[JobFiles, Job]]:
    """Jobs of almaflow's home that their store does not have wholly, the oldest first.

    Args:
        uri: Only those that belong into this resolved store.
    """
    for path in sorted((machine.home() / "jobs").glob("*/job.json")):
        files = JobFiles.of(path.parent)
        if files.tracked.exists():
            continue
        try:
            job = files.read_job()
        except FileNotFoundError:  # removed since
            continue
        except AlmaflowError as error:
            logging.getLogger("almaflow").warning(str(error))
            continue
        if job.store and not job.tracked and (uri is None or job.store == display_uri(uri)):
            yield files, job


def sync(uri: str) -> Iterator[Synced]:
    """Write to a resolved store whatever jobs of almaflow's home it lacks; jobs that still run are left alone.

    Raises:
        TrackingError: the store cannot be reached; what one job lacks is told with the job instead.
    """
    remove_dead()
    for files, _ in pending(uri):
        try:
            with files.locked():
                yield _written(files, uri)
        except BusyError:  # it will look after itself
            continue


def _written(files: JobFiles, uri: str) -> Synced:
    take_up(files)
    job = files.read_job()
    if job.ended_at is None:  # its process was killed
        ended_at = max((each.ended_at for each in job.outcomes), default=job.started_at)
        job = replace(job, interrupted=True, ended_at=ended_at)
    try:
        job = close_in_store(files, job, uri)
    except UsageError as error:
        return Synced(job, files.root, len(job.outcomes), str(error))
    return Synced(job, files.root, len(job.outcomes))
