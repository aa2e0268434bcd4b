"""Results of earlier jobs and sweeps, from the store or from almaflow's home."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

from almaflow import machine
from almaflow.analysis.output import completed
from almaflow.api.results import ValidationResult, result_of
from almaflow.errors import UsageError
from almaflow.records import read_data
from almaflow.tracking.uris import display_uri, resolve_uri

if TYPE_CHECKING:
    import pandas as pd


def load_job(job_id: str | None = None, *, tracking_uri: str | None = None) -> ValidationResult:
    """Return the result of an earlier job, as ``almaflow.validate`` returned it.

    Args:
        job_id: The ID of the job or of its MLflow run; by default the newest job of the store. A job that the store
            does not have is looked for in almaflow's home.
        tracking_uri: An MLflow tracking URI; by default the store that ``almaflow run`` writes to.

    Raises:
        UsageError: there is no such job, or the ID is a sweep's.
        TrackingError: the store cannot be reached or read.
    """
    outputs = _outputs(job_id, tracking_uri)
    if len(outputs) > 1:
        message = f"{job_id}: is a sweep of {len(outputs)} jobs; call almaflow.load_sweep"
        raise UsageError(message)
    return result_of(outputs[0])


def load_sweep(sweep_id: str, *, tracking_uri: str | None = None) -> list[ValidationResult]:
    """Return the results of a sweep's jobs in their order; arguments and errors are those of ``load_job``."""
    return [result_of(each) for each in _outputs(sweep_id, tracking_uri)]


def load_jobs(
    experiment_name: str | None = None, *, sweep_id: str | None = None, tracking_uri: str | None = None
) -> pd.DataFrame:
    """Return every conversion that a store has measured, one row for each, the newest first.

    The columns are ``started_at`` (local time), ``experiment``, ``run_id``, then params, metrics and tags by the names
    that they have in MLflow, such as ``model``, ``conversion``, ``latency_ms``, ``almaflow.job_id`` and ``env.torch``.

    Args:
        experiment_name: Only this experiment's.
        sweep_id: Only those of a sweep, or of a job.
        tracking_uri: An MLflow tracking URI; by default the store that ``almaflow run`` writes to.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    import pandas as pd

    from almaflow.tracking.reader import conversion_runs, runs_of

    uri = resolve_uri(tracking_uri)
    runs = runs_of(uri, sweep_id) if sweep_id else conversion_runs(uri, experiment_name)
    rows = [
        {
            "started_at": pd.Timestamp.fromtimestamp(run.started_at),
            "experiment": run.experiment,
            "run_id": run.run_id,
            **run.params,
            **run.metrics,
            **run.tags,
        }
        for run in runs
        if experiment_name in {None, run.experiment}
    ]
    return pd.DataFrame(rows)


def _outputs(named: str | None, tracking_uri: str | None) -> list[dict[str, Any]]:
    from almaflow.tracking.reader import outputs_of

    uri = resolve_uri(tracking_uri)
    with tempfile.TemporaryDirectory(prefix="almaflow-") as scratch:
        found = outputs_of(uri, named, scratch)
    if found and found[1]:
        return found[1]
    kept = machine.home() / "jobs" / (named or "") / "summary" / "output.json"
    if named and "/" not in named and kept.is_file():  # not in the store yet
        return [completed(read_data(kept))]
    message = f"{named or 'load_job'}: no such job or sweep with a result in {display_uri(uri)}"
    raise UsageError(message)
