"""Figures as they go to MLflow: in batches, in an order, with the digits that people read."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

# MLflow's limits for one batch call: 1000 entities, of which 100 may be params.
METRICS_PER_CALL = 900
PARAMS_PER_CALL = 100

DIGITS = 5
"""Significant digits of a figure in the store: MLflow's pages show what is stored, however many digits that has."""


def log_batch(  # noqa: PLR0913, PLR0917 - one batch call, whose parts these are
    client: MlflowClient,
    run_id: str,
    metrics: Mapping[str, float],
    params: Mapping[str, str],
    timestamp: int,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write figures, settings and tags of one run, in as few calls as MLflow's limits allow.

    The latency goes first: MLflow's page that compares runs opens on the metric that was logged first. Predictions,
    which may be the same for all, go last.
    """
    from mlflow.entities import Metric, Param, RunTag

    ordered = sorted(metrics, key=lambda name: (name != "latency_ms", name.startswith("predict")))
    figures = [Metric(name, rounded(metrics[name]), timestamp, 0) for name in ordered]
    settings = [Param(name, value) for name, value in params.items()]
    calls = max(ceil(len(figures) / METRICS_PER_CALL), ceil(len(settings) / PARAMS_PER_CALL), 1)
    for call in range(calls):
        client.log_batch(
            run_id,
            metrics=figures[call * METRICS_PER_CALL : (call + 1) * METRICS_PER_CALL],
            params=settings[call * PARAMS_PER_CALL : (call + 1) * PARAMS_PER_CALL],
            tags=[RunTag(name, value) for name, value in (tags or {}).items()] if call == 0 else [],
            synchronous=True,  # an error has to be seen here, whatever MLFLOW_ENABLE_ASYNC_LOGGING says
        )


def log_model_figures(client: MlflowClient, run: Run, model: LoggedModel) -> None:
    """Write the figures of a run that its logged model lacks, each at the time and step at which the run has it.

    The run has them there already, so that its own history stays as it is. A model takes one value at a time and step.
    """
    from mlflow.entities import Metric

    known = {(each.key, each.timestamp, each.step) for each in model.metrics or ()}
    lacking = [
        Metric(each.key, each.value, each.timestamp, each.step, model_id=model.model_id)
        for each in run.data.to_proto().metrics
        if (each.key, each.timestamp, each.step) not in known
    ]
    for first in range(0, len(lacking), METRICS_PER_CALL):
        client.log_batch(run.info.run_id, metrics=lacking[first : first + METRICS_PER_CALL], synchronous=True)


def rounded(value: float) -> float:
    """Return a figure with as many digits as the store keeps; whole numbers, such as counts, stay as they are."""
    return float(value) if float(value).is_integer() else float(f"{value:.{DIGITS}g}")


def milliseconds(seconds: float) -> int:
    """Return a time in the whole milliseconds that MLflow keeps."""
    return int(seconds * 1000)
