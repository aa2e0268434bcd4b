"""A sweep from its first job to its last: what the jobs share, and the record that is closed whatever happens."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import replace
from statistics import mean
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from almaflow.analysis.sweep import SweepSummary, summarise, what_differs
from almaflow.errors import UsageError
from almaflow.records import Sweep, asked, write_json
from almaflow.report.sweep import sweep_markdown
from almaflow.sweeps.files import SweepFiles, sweeps
from almaflow.tracking.uris import MASK, display_uri, resolve_uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from almaflow.tracking.reader import JobKey

_HELD: dict[str, FileLock] = {}
"""Locks of the sweeps that this process runs: a lock is given back when nobody knows it any more."""

SWEPT = ("model", "batch_size", "tier")
"""What a job's time depends on most, by the names of the overrides."""

SWEEP_ID = "ALMAFLOW_SWEEP_ID"
"""The environment variable that tells jobs, wherever a launcher starts them, what they belong to."""


def begin(
    sweep_id: str, overrides: Sequence[str], planned: Sequence[Sequence[str]] | None, *, resumed: bool
) -> SweepFiles:
    """Start the record of a sweep, or go on with that of the newest one with the same overrides.

    Args:
        sweep_id: What a new one is called.
        overrides: As they were given, with their several values.
        planned: The overrides of each job; None where they are not known beforehand.
        resumed: Whether the jobs are to go on with what the store has.
    """
    overrides = asked(overrides)
    files = SweepFiles.of(sweep_id)
    same = (each for each in sweeps() if resumed and sorted(each.read().overrides) == sorted(overrides))
    before = (each for each in same if _taken(each))
    files = next(before, files)
    _taken(files)
    os.environ[SWEEP_ID] = sweep_id = files.root.name
    jobs = None if planned is None else tuple(map(asked, planned))
    files.write(Sweep(sweep_id, overrides, jobs, time.time()))
    return files


def _taken(files: SweepFiles) -> bool:
    """Whether the sweep is this process's now: it is not where another one runs it."""
    if files.root.name not in _HELD:
        lock = files.lock()
        with suppress(Timeout):
            lock.acquire(blocking=False)
            _HELD[files.root.name] = lock
    return files.root.name in _HELD


def next_job(files: SweepFiles, number: int, overrides: Sequence[str]) -> str:
    """What to say before a job: which it is."""
    planned = files.read().planned
    if planned is None:
        return f"job {number + 1}: {' '.join(overrides)}"
    return f"job {number + 1} of {len(planned)}: {what_differs(dict(enumerate(planned)))[number]}"


def left_s(files: SweepFiles, number: int, same: JobKey, history: Mapping[JobKey, float]) -> float | None:
    """Seconds that the sweep may take from this job on; None where there is nothing to tell from.

    Args:
        files: The sweep's.
        number: Of the job that begins.
        same: Its model, batch size and tier, which the other jobs have too where their overrides do not say otherwise.
        history: How long earlier jobs took, from the store.
    """
    planned = files.read().planned
    if not planned:
        return None
    took = [job.ended_at - job.started_at for job in files.jobs() if job.output and job.number < number]
    expected = []
    for overrides in planned[number:]:
        given = dict(each.split("=", 1) for each in overrides if "=" in each)
        key = tuple(given.get(name, value).strip("'\"") for name, value in zip(SWEPT, same, strict=True))
        expected.append(history.get(key))  # type: ignore[arg-type]  # three words, as JobKey has
    known = took + [each for each in expected if each is not None]
    return sum(mean(known) if each is None else each for each in expected) if known else None


def end(files: SweepFiles, *, interrupted: bool = False) -> SweepSummary:
    """Close the record on disk, and give the summary."""
    sweep = replace(files.read(), ended_at=time.time(), interrupted=interrupted, tracked=False)
    files.write(sweep)
    jobs = files.jobs()
    summary = summarise(sweep, jobs)
    files.summary.mkdir(exist_ok=True)
    (files.summary / "summary.md").write_text(sweep_markdown(summary), encoding="utf-8")
    write_json(files.summary / "jobs.json", [job.output for job in jobs if job.output])
    return summary


def release(files: SweepFiles) -> None:
    """The command that ran the sweep is done with it."""
    if lock := _HELD.pop(files.root.name, None):
        lock.release()


def left_over() -> Iterator[SweepFiles]:
    """Sweeps that are not in their store, or whose command was killed, and that nobody runs any more."""
    for files in sweeps():
        if not files.read().tracked and files.jobs() and _taken(files):
            try:
                yield files
            finally:
                release(files)


def store_of(files: SweepFiles) -> tuple[str, str] | None:
    """The URI of the store that the jobs named, and their experiment; None where none got so far.

    Raises:
        UsageError: the URI has credentials, which are kept nowhere, and is not the one that is set here.
    """
    named = ((job.store, job.experiment_name) for job in files.jobs() if job.store and job.experiment_name)
    store, experiment = next(named, (None, None))
    if store is None or experiment is None:
        return None
    uri = store if MASK not in store else resolve_uri(None)
    if display_uri(uri) != store:
        message = f"the sweep's record is not in {store} yet: set MLFLOW_TRACKING_URI to it, then `almaflow sync`"
        raise UsageError(message)
    return uri, experiment


def track(files: SweepFiles, summary: SweepSummary) -> None:
    """Write the sweep's own run, or bring it up to date.

    Raises:
        TrackingError: the store cannot be reached or written.
        UsageError: the experiment was deleted, or the store's URI is not known.
    """
    from almaflow.tracking.sweeps import log_sweep

    place = store_of(files)
    if place:
        sweep = summary.sweep
        run_id = log_sweep(*place, sweep, summary.metrics, sweep_markdown(summary), files.summary)
        files.write(replace(sweep, run_id=run_id, tracked=True))
