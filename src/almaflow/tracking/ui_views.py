"""Prepared pages of MLflow's UI: columns, order and charts that show a job, a sweep, or errors over time at once.

MLflow 3.17 keeps a saved view as an experiment's tag, a JSON object with a name and, as text, the state of its page. It
lists them under "Views", and opens one by the tag's name in a link; a filter in the link would keep it from doing so,
which is why the tags hold the newest job's and sweep's. The format is internal to MLflow:
``tests/tracking/test_ui_views.py`` reads the pages in a browser.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from almaflow.tracking.session import session
from almaflow.tracking.store import newest_job
from almaflow.tracking.uris import link_base

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow import MlflowClient

JOB, SWEEP, ACCURACY = "almaflow-job", "almaflow-sweep", "almaflow-accuracy"
TAG = "mlflow.sharedViewState."

PRECISION = ("metrics.`fidelity/sqnr_db`", "metrics.`fidelity/top1_agreement`")
FAILURE = ("tags.`almaflow.status`", "tags.`almaflow.failure`", "tags.`almaflow.failure_message`")
LATENCY = (
    "metrics.`latency_ms`",
    "metrics.`speedup_vs_eager`",
    "metrics.`speedup_vs_inductor`",
    "metrics.`throughput`",
    "metrics.`latency/ci_low`",
    "metrics.`latency/ci_high`",
)
PREDICTION = ("metrics.`predicted_latency_ms`", "metrics.`prediction_error_pct`")
CHARTS = ("latency_ms", "speedup_vs_eager", "throughput", "prediction_error_pct", "fidelity/sqnr_db")
ERROR_CHARTS = ("prediction_error_pct", "prediction_abs_error_pct", "predicted_latency_ms", "latency_ms")
WORKLOAD = ("params.`model`", "params.`batch_size`", "params.`conversion`")


@dataclass(frozen=True)
class View:
    """A saved view."""

    key: str
    title: str
    created_at: float
    """Seconds since the epoch: MLflow lists the newest first."""
    state: Mapping[str, Any]

    @property
    def tag(self) -> tuple[str, str]:
        """Name and value of the experiment's tag."""
        state = json.dumps(self.state, separators=(",", ":"))
        return f"{TAG}{self.key}", json.dumps(
            {"name": self.title, "createdAt": int(self.created_at * 1000), "state": state}, separators=(",", ":")
        )


def views_of(name: str, started_at: float, tags: Mapping[str, str]) -> list[View]:
    """Return the views on a job, its sweep if it has one, and prediction errors; the most useful comes first.

    Args:
        name: The name of the job's run in MLflow.
        started_at: Start of the job, in seconds since the epoch.
        tags: Tags of the job's run.
    """
    views = []
    if sweep_id := tags.get("almaflow.sweep_id"):
        columns = [*WORKLOAD, *LATENCY, *PRECISION, *FAILURE]
        state = _page("sweep_id", sweep_id, "params.`model`", columns, CHARTS)
        views.append(View(SWEEP, f"almaflow: sweep {sweep_id}", started_at, state))
    if job_id := tags.get("almaflow.job_id"):
        columns = [*LATENCY, *PRECISION, *PREDICTION, *FAILURE]
        state = _page("job_id", job_id, "metrics.`latency_ms`", columns, CHARTS)
        views.append(View(JOB, f"almaflow: newest job, {name}", started_at, state))
    columns = [*WORKLOAD, "metrics.`latency_ms`", *PREDICTION, "params.`predictor`", "params.`hardware`"]
    state = _page("kind", "conversion", "attributes.start_time", columns, ERROR_CHARTS)
    state |= {"orderByAsc": False, "searchFilter": f"{state['searchFilter']} AND metrics.prediction_abs_error_pct >= 0"}
    return [*views, View(ACCURACY, "almaflow: prediction errors over time", 0, state)]


def _page(tag: str, value: str, order: str, columns: Sequence[str], charts: Sequence[str]) -> dict[str, Any]:
    section = "almaflow"
    return {
        "searchFilter": f"tags.`almaflow.kind` = 'conversion' AND tags.`almaflow.{tag}` = '{value}'",
        "orderByKey": order,
        "orderByAsc": True,
        "selectedColumns": list(columns),
        "columnOrder": list(columns),
        "columnWidths": {"params.`conversion`": 240, "tags.`almaflow.failure_message`": 300},  # pixels
        "runsHiddenMode": "SHOW_ALL",
        "hideEmptyCharts": True,
        # The charts stay as they are here: otherwise MLflow adds its own for every metric, and sorts.
        "isAccordionReordered": True,
        "compareRunSections": [{"uuid": section, "name": "almaflow", "display": True, "isReordered": True}],
        "compareRunCharts": [
            {
                "uuid": f"{section}-{metric}",
                "type": "BAR",
                "metricKey": metric,
                "metricSectionId": section,
                "runsCountToCompare": 20,
                "deleted": False,
                "isGenerated": False,
            }
            for metric in charts
        ],
    }


def write(client: MlflowClient, experiment_id: str, views: Sequence[View]) -> None:
    """Give an experiment the views that it does not have in this form."""
    tags = client.get_experiment(experiment_id).tags
    for name, value in (view.tag for view in views):
        if tags.get(name) != value:
            client.set_experiment_tag(experiment_id, name, value)


@dataclass(frozen=True)
class Pages:
    """The views that the experiment of the newest job has."""

    experiment_id: str
    experiment: str
    views: tuple[View, ...]


def prepare_pages(uri: str) -> Pages | None:
    """Give the experiment of the newest job its views; None where there is no job.

    Raises:
        TrackingError: the store cannot be reached, read or written.
    """
    newest = newest_job(uri)
    if newest is None:
        return None
    job, experiment = newest
    views = views_of(job.info.run_name, job.info.start_time / 1000, job.data.tags)
    with session(uri, "nothing can be shown") as client:
        write(client, job.info.experiment_id, views)
    return Pages(job.info.experiment_id, experiment, tuple(views))


def link(base: str, experiment_id: str, view: str, *, charts: bool = False) -> str:
    """Return the address of a view.

    Args:
        base: Address of the MLflow server.
        experiment_id: The experiment whose runs are shown.
        view: ``JOB``, ``SWEEP`` or ``ACCURACY``.
        charts: Open the charts instead of the table.
    """
    query = {
        "viewStateShareKey": view,
        "workflowType": "machine_learning",  # without it MLflow opens its page for traces of language models
        "compareRunsMode": "CHART" if charts else "TABLE",
    }
    return f"{link_base(base)}/#/experiments/{experiment_id}/runs?{urlencode(query)}"
