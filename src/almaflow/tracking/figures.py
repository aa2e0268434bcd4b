"""Figures as they go to MLflow: in batches, in an order, with the digits that people read."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow import MlflowClient

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
    *,
    model_id: str | None = None,
) -> None:
    """Write figures, settings and tags of one run, in as few calls as MLflow's limits allow; figures also of a model.

    The latency goes first: MLflow's page that compares runs opens on the metric that was logged first. Predictions,
    which may be the same for all, go last.
    """
    from mlflow.entities import Metric, Param, RunTag

    ordered = sorted(metrics, key=lambda name: (name != "latency_ms", name.startswith("predict")))
    figures = [Metric(name, rounded(metrics[name]), timestamp, 0, model_id=model_id) for name in ordered]
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


def rounded(value: float) -> float:
    """Return a figure with as many digits as the store keeps; whole numbers, such as counts, stay as they are."""
    return float(value) if float(value).is_integer() else float(f"{value:.{DIGITS}g}")


def milliseconds(seconds: float) -> int:
    """Return a time in the whole milliseconds that MLflow keeps."""
    return int(seconds * 1000)
