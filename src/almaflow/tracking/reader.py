"""What the store holds, read page by page."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from almaflow.tracking.store import connect, quiet, reporting
from almaflow.tracking.uris import sqlite_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from almaflow.records import Job

PAGE = 250
"""Runs of one answer; each holds some hundred values."""

READY = ("time/load", "time/convert", "time/first_call")
"""What a conversion does before it is timed."""

MOST_LOOKED_AT = 500
"""Of earlier runs: reading them takes about a second, and they are for an estimate."""


@dataclass(frozen=True)
class StoredRun:
    """One conversion's run."""

    run_id: str
    experiment: str
    started_at: float
    """Seconds since the epoch."""
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]
    """With their prefixes: ``almaflow.status``, ``env.torch`` ..."""


def conversion_runs(uri: str, experiment_name: str | None = None, where: str = "") -> Iterator[StoredRun]:
    """The runs of all conversions, the newest first.

    Args:
        uri: A resolved store.
        experiment_name: Only this experiment's.
        where: A further condition in MLflow's filter language.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    if (database := sqlite_path(uri)) and not database.exists():
        return
    with reporting(uri, "nothing could be read"), quiet():
        client = connect(uri)
        names = {each.experiment_id: each.name for each in client.search_experiments()}
        wanted = [key for key, name in names.items() if experiment_name in {None, name}]
        token: str | None = None
        while wanted:
            page = client.search_runs(
                wanted,
                "tags.`almaflow.kind` = 'conversion'" + (f" AND {where}" if where else ""),
                max_results=PAGE,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            for run in page:
                info, data = run.info, run.data
                yield StoredRun(
                    info.run_id, names[info.experiment_id], info.start_time / 1000, data.metrics, data.params, data.tags
                )
            token = page.token
            if not token:
                return


def ready_times(job: Job, uri: str) -> dict[str, float]:
    """Seconds that each conversion took until it was ready, when this model was last measured on such a machine.

    Args:
        job: The one that is about to run.
        uri: A resolved store.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    same = {
        "params.model": job.model.name,
        "params.batch_size": str(job.model.batch_size),
        "params.`measure.compile_cache`": job.measure.compile_cache,
        "tags.`env.cpu`": job.environment.get("cpu", ""),
    }
    where = " AND ".join(f"{key} = '{value}'" for key, value in same.items() if "'" not in value)
    newest: dict[str, float] = {}
    for run in islice(conversion_runs(uri, job.experiment_name, where), MOST_LOOKED_AT):
        took = [run.metrics[phase] for phase in READY if phase in run.metrics]
        if len(took) == len(READY):
            newest.setdefault(run.params["conversion"], sum(took))
    return newest
