"""Read how long earlier jobs took, for plans of what later ones will take."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from almaflow.tracking.reader import MOST_LOOKED_AT, StoredRun, job_runs

SETTINGS = ("min_time_s", "max_time_s", "rel_precision", "replicates", "compile_cache", "interleave")
"""Settings of a measurement that its time depends on most."""
_COUNTS = ("conversions_ok", "conversions_failed")


@dataclass(frozen=True)
class JobDuration:
    """The time that a job took, with what that depends on."""

    model: str
    batch_size: int
    tier: int
    hardware: str
    conversions: int
    """Number of conversions that were run, well or not."""
    settings: tuple[str | None, ...]
    """The measurement's ``SETTINGS``, as the store has them."""
    seconds: float


def job_durations(uri: str, experiment_name: str) -> list[JobDuration]:
    """Return the newest jobs that ran to their end, the newest first.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    runs = islice(job_runs(uri, experiment_name), MOST_LOOKED_AT)
    return [duration for run in runs if (duration := _duration(run))]


def _duration(run: StoredRun) -> JobDuration | None:
    count = sum(int(run.metrics.get(name, 0)) for name in _COUNTS)
    whole = run.params.keys() >= {"model", "batch_size", "tier", "hardware"}
    if not whole or not count or run.tags.get("almaflow.status") != "ok" or run.metrics.get("time/job", 0.0) <= 0:
        return None
    return JobDuration(
        run.params["model"],
        int(run.params["batch_size"]),
        int(run.params["tier"]),
        run.params["hardware"],
        count,
        tuple(run.params.get(f"measure.{name}") for name in SETTINGS),
        run.metrics["time/job"],
    )
