"""Read the runs and artifacts of a store."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from almaflow.analysis.output import completed
from almaflow.errors import TrackingError
from almaflow.records import read_data
from almaflow.tracking.artifacts import fetched
from almaflow.tracking.session import session
from almaflow.tracking.store import experiments, search
from almaflow.tracking.uris import is_missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mlflow.entities import Run

    from almaflow.records import Job

READY = ("time/load", "time/convert", "time/first_call")
"""Metrics of the phases before a conversion is timed, in seconds."""

JobKey = tuple[str, str, str]
"""Model, batch size and tier."""

MOST_LOOKED_AT = 500
"""The number of earlier runs that an estimate reads, which takes about a second."""


@dataclass(frozen=True)
class StoredRun:
    """A run of one conversion, or of one job."""

    run_id: str
    experiment: str
    started_at: float
    """Seconds since the epoch."""
    ended: bool
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]
    """The tags by their full names: ``almaflow.status``, ``env.torch`` ..."""


def conversion_runs(uri: str, experiment_name: str | None = None, where: str = "") -> Iterator[StoredRun]:
    """Return the runs of all conversions, the newest first.

    Args:
        uri: A resolved store.
        experiment_name: Only this experiment's.
        where: A further condition in MLflow's filter language.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    return _runs(uri, "conversion", experiment_name, where)


def job_runs(uri: str, experiment_name: str | None = None, where: str = "") -> Iterator[StoredRun]:
    """Return the jobs' own runs, the newest first; see ``conversion_runs``."""
    return _runs(uri, "job", experiment_name, where)


def runs_of(uri: str, named: str) -> list[StoredRun]:
    """Return the conversions of a run, job or sweep, the newest first; none where the store has no such ID.

    Args:
        uri: A resolved store.
        named: The ID of a job or a sweep, or of the run of a conversion, a job or a sweep.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    if "'" in named:
        return []
    for tag in ("job_id", "sweep_id", "job_run_id"):
        if runs := list(conversion_runs(uri, where=f"tags.`almaflow.{tag}` = '{named}'")):
            return runs
    if runs := list(conversion_runs(uri, where=f"attributes.run_id = '{named}'")):
        return runs
    sweep = next(_runs(uri, "sweep", None, f"attributes.run_id = '{named}'"), None)
    return runs_of(uri, sweep.tags["almaflow.sweep_id"]) if sweep else []


def condition(values: Mapping[str, str]) -> str:
    """MLflow's filter for runs that have all of these values; one that cannot be written as a filter is left out."""
    return " AND ".join(f"{key} = '{value}'" for key, value in values.items() if "'" not in value)


def _runs(uri: str, kind: str, experiment_name: str | None, where: str) -> Iterator[StoredRun]:
    if is_missing(uri):
        return
    with session(uri, "nothing could be read") as client:
        names = experiments(client)
        wanted = [key for key, name in names.items() if experiment_name in {None, name}]
        kind_is = f"tags.`almaflow.kind` = '{kind}'"
        where = f"{kind_is} AND {where}" if where else kind_is
        for run in search(client, wanted, where, ["attributes.start_time DESC"]):
            yield stored_run(run, names)


def stored_run(run: Run, names: Mapping[str, str]) -> StoredRun:
    """Return a run as MLflow gives it, with the names of the experiments by their IDs."""
    info, data = run.info, run.data
    return StoredRun(
        info.run_id,
        names[info.experiment_id],
        info.start_time / 1000,
        info.end_time is not None,
        data.metrics,
        data.params,
        data.tags,
    )


def ready_times(job: Job, uri: str) -> dict[str, float]:
    """Return the seconds until each conversion was ready, when this model was last measured on such a machine.

    Args:
        job: The job that is about to run.
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
    newest: dict[str, float] = {}
    for run in islice(conversion_runs(uri, job.experiment_name, condition(same)), MOST_LOOKED_AT):
        took = [run.metrics[phase] for phase in READY if phase in run.metrics]
        if len(took) == len(READY) and "conversion" in run.params:
            newest.setdefault(run.params["conversion"], sum(took))
    return newest


def job_times(uri: str, experiment_name: str) -> dict[JobKey, float]:
    """Return the seconds that the newest job of each model, batch size and tier took.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    newest: dict[JobKey, float] = {}
    for run in islice(job_runs(uri, experiment_name), MOST_LOOKED_AT):
        if run.metrics.get("time/job", 0.0) > 0:  # an older almaflow had negative ones, where the clock was set back
            model, batch_size, tier = (run.params.get(name, "") for name in ("model", "batch_size", "tier"))
            newest.setdefault((model, batch_size, tier), run.metrics["time/job"])
    return newest


def outputs_of(uri: str, named: str | None, scratch: str) -> tuple[str, list[dict[str, Any]]] | None:
    """Return the ID of a job or sweep, and its jobs as ``output=FILE.json`` holds them; None where there is none.

    Args:
        uri: A resolved store.
        named: The ID of a job or a sweep, or of its run; None for the newest job.
        scratch: A directory for downloads.

    Raises:
        TrackingError: the store cannot be reached or read.
        RecordError: the result is damaged, or of a form that is unknown here.
    """
    for kind, artifact in (("job", "output.json"), ("sweep", "jobs.json")):
        tag = f"{kind}_id"
        conditions = [""]
        if named is not None:
            conditions = [condition({key: named}) for key in (f"tags.`almaflow.{tag}`", "attributes.run_id")]
        for where in conditions:
            run = next(_runs(uri, kind, None, where), None) if where or named is None else None
            if run is None:
                continue
            with session(uri, "the result could not be read") as client:
                path = fetched(client, run.run_id, artifact, scratch)
                if path is None:
                    message = f"run {run.run_id} has no {artifact}: `almaflow sync` writes what a store has missed"
                    raise TrackingError(message)
                read = read_data(path)
            jobs = read if kind == "sweep" and isinstance(read, list) else [read]
            return run.tags.get(f"almaflow.{tag}", run.run_id), [completed(each) for each in jobs if each]
    return None


def downloaded(uri: str, run_id: str, name: str, scratch: str) -> Path | None:
    """Download an artifact under ``scratch``; None where the run has no such file, or it cannot be reached.

    Args:
        uri: A resolved store.
        run_id: The ID of the run that keeps the artifact.
        name: The artifact's name.
        scratch: A directory for downloads.
    """
    try:
        with session(uri, f"{name} could not be read") as client:
            return fetched(client, run_id, name, scratch)
    except TrackingError:
        return None
