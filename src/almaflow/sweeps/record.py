"""The record of a sweep: begun before its first job, and closed whatever happens to its jobs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import mean
from typing import TYPE_CHECKING

from filelock import Timeout

from almaflow.analysis.sweep import SweepSummary, summarise, what_differs
from almaflow.errors import UsageError
from almaflow.records import Sweep, measurement_overrides, write_json
from almaflow.records.clock import now
from almaflow.report.sweep import sweep_markdown
from almaflow.secrets import MASK
from almaflow.sweeps.files import SweepFiles, sweeps
from almaflow.tracking.uris import display_uri, resolve_uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from filelock import FileLock

    from almaflow.tracking.reader import JobKey

SWEPT = ("model", "batch_size", "tier")
"""The overrides that a job's time depends on most."""


@dataclass(frozen=True)
class HeldSweep:
    """A sweep that this process runs, with the lock that keeps other processes from its record."""

    files: SweepFiles
    lock: FileLock


def begin(
    sweep_id: str, overrides: Sequence[str], planned: Sequence[Sequence[str]] | None, *, resumed: bool
) -> HeldSweep:
    """Start the record of a sweep, or go on with the newest sweep of the same overrides that no process runs.

    Args:
        sweep_id: The name of a new sweep.
        overrides: The overrides of the command, with their several values.
        planned: The overrides of each job; None where they are not known beforehand.
        resumed: Whether the jobs are to go on with what the store has.
    """
    overrides = measurement_overrides(overrides)
    earlier = sweeps() if resumed else ()
    same = (each for each in earlier if sorted(each.read().overrides) == sorted(overrides))
    free = (held for files in same if (held := _held(files)).lock.is_locked)
    held = next(free, None) or _held(SweepFiles.of(sweep_id))
    jobs = None if planned is None else tuple(map(measurement_overrides, planned))
    held.files.write(Sweep(held.files.root.name, overrides, jobs, now()))
    return held


def _held(files: SweepFiles) -> HeldSweep:
    """Return the sweep with its lock, which stays unlocked where another process runs the sweep."""
    lock = files.lock()
    with suppress(Timeout):
        lock.acquire(blocking=False)
    return HeldSweep(files, lock)


def next_job(files: SweepFiles, number: int, overrides: Sequence[str]) -> str:
    """Return the line to show before a job: its number, and the overrides that only this job has."""
    planned = files.read().planned
    if planned is None:
        return f"job {number + 1}: {' '.join(overrides)}"
    return f"job {number + 1} of {len(planned)}: {what_differs(dict(enumerate(planned)))[number]}"


def remaining_s(files: SweepFiles, number: int, same: JobKey, history: Mapping[JobKey, float]) -> float | None:
    """Estimate the seconds that the sweep takes from this job on; None where nothing allows an estimate.

    Args:
        files: The files of the sweep.
        number: The number of the job that begins.
        same: Its model, batch size and tier, which the other jobs have too where their overrides do not say otherwise.
        history: Seconds that earlier jobs took, from the store.
    """
    planned = files.read().planned
    if not planned:
        return None
    took = [job.ended_at - job.started_at for job in files.jobs() if job.output and job.number < number]
    expected = []
    for overrides in planned[number:]:
        values = dict(each.split("=", 1) for each in overrides if "=" in each)
        key = tuple(values.get(name, value).strip("'\"") for name, value in zip(SWEPT, same, strict=True))
        expected.append(history.get(key))  # type: ignore[arg-type]  # three words, as JobKey has
    times = took + [each for each in expected if each is not None]
    return sum(mean(times) if each is None else each for each in expected) if times else None


def end(files: SweepFiles, *, interrupted: bool = False) -> SweepSummary:
    """Close the record on disk, and give the summary."""
    sweep = replace(files.read(), ended_at=now(), interrupted=interrupted, tracked=False)
    files.write(sweep)
    jobs = files.jobs()
    summary = summarise(sweep, jobs, files.begun())
    files.summary.mkdir(exist_ok=True)
    (files.summary / "summary.md").write_text(sweep_markdown(summary), encoding="utf-8")
    write_json(files.summary / "jobs.json", [job.output for job in jobs if job.output])
    return summary


def untracked() -> Iterator[SweepFiles]:
    """Yield sweeps that are not in their store, or whose command was killed, and that no process runs any more."""
    for files in sweeps():
        if files.read().tracked or not files.jobs():
            continue
        held = _held(files)
        if held.lock.is_locked:
            try:
                yield files
            finally:
                held.lock.release()


def store_of(files: SweepFiles) -> tuple[str, str] | None:
    """Return the URI of the store that the jobs named, and their experiment; None where none got so far.

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

    store_and_experiment = store_of(files)
    if store_and_experiment:
        sweep = summary.sweep
        run_id = log_sweep(*store_and_experiment, sweep, summary.metrics, sweep_markdown(summary), files.summary)
        files.write(replace(sweep, run_id=run_id, tracked=True))
