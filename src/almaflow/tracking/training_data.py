"""Read measurements of whole models with their operations, for predictors to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.errors import RecordError
from almaflow.records import MeasuredModel, Workload, read_json
from almaflow.tracking.reader import condition, conversion_runs, downloaded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from almaflow.tracking.reader import StoredRun

FLOOR, CONTROL = "latency/floor", "machine/control_ms"
WORKLOAD = "workload.json"
_KEY = ("model", "batch_size", "input_shape", "dynamic", "conversion")
"""Params that tell measurements apart; of those with the same ones the newest counts."""


def measured_models(uri: str, experiment_name: str, where: Mapping[str, str], scratch: str) -> Iterator[MeasuredModel]:
    """Yield the newest measurement of each model, batch size and conversion that fits.

    Args:
        uri: A resolved store.
        experiment_name: The experiment to search.
        where: Parameters and tags that a run has to have, as ``params.NAME`` and ``tags.NAME``.
        scratch: A directory for downloads.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    newest: dict[tuple[str, ...], StoredRun] = {}
    for run in conversion_runs(uri, experiment_name, condition({"tags.`almaflow.status`": "ok", **where})):
        if {FLOOR, CONTROL, "latency_ms"} <= run.metrics.keys():
            newest.setdefault(tuple(run.params.get(name, "") for name in _KEY), run)
    workloads: dict[str, Workload | None] = {}
    for run in newest.values():
        job = run.tags.get("almaflow.job_run_id", "")
        if job not in workloads:
            workloads[job] = kept_workload(uri, job, scratch)
        workload = workloads[job]
        if workload is not None:
            figures = run.metrics[FLOOR], run.metrics[CONTROL], run.run_id
            yield MeasuredModel(run.params.get("model", ""), run.params.get("conversion", ""), workload, *figures)


def kept_workload(uri: str, job_run_id: str, scratch: str) -> Workload | None:
    """Return the operations that a job kept; None from an older almaflow, or where they could not be counted."""
    path = downloaded(uri, job_run_id, WORKLOAD, scratch)
    try:
        return read_json(path, Workload) if path else None
    except RecordError:
        return None
