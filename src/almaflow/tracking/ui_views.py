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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow import MlflowClient

JOB, SWEEP, SWEEP_BEST = "almaflow-job", "almaflow-sweep", "almaflow-sweep-best"
PROFILE, SEGMENTS = "almaflow-profile", "almaflow-profile-segments"
ACCURACY, SERIES = "almaflow-accuracy", "almaflow-series"
TAG = "mlflow.sharedViewState."

NAME, CREATED, DESCRIPTION = "attributes.`Run Name`", "runDateAndNestInfo", "attributes.`Description`"
"""MLflow's own columns; the first two are shown always, and named here for their widths."""
WIDTHS = {
    NAME: 340,
    CREATED: 40,
    "metrics.`latency_ms`": 88,
    "metrics.`speedup_vs_eager`": 78,
    "metrics.`fidelity/sqnr_db`": 78,
    DESCRIPTION: 300,
    "tags.`almaflow.failure_message`": 300,
}
"""Widths in pixels, such that name, latency, speedup, fidelity and the beginning of the description are in view in a
window of 1440 pixels, of which MLflow's menu and its Assistant take more than a third."""
RESULT = ("metrics.`latency_ms`", "metrics.`speedup_vs_eager`", "metrics.`fidelity/sqnr_db`", DESCRIPTION)
DETAILS = (
    "metrics.`speedup_vs_inductor`",
    "metrics.`throughput`",
    "metrics.`latency/ci_low`",
    "metrics.`latency/ci_high`",
    "metrics.`fidelity/top1_agreement`",
)
FAILURE = ("tags.`almaflow.status`", "tags.`almaflow.failure`", "tags.`almaflow.failure_message`")
PREDICTION = ("metrics.`predicted_latency_ms`", "metrics.`prediction_error_pct`")
ERROR_OVER_TIME = (
    "metrics.`error_pct`",
    "metrics.`accuracy/now_mean_abs_error_pct`",
    "metrics.`measured_ms`",
    "metrics.`predicted_ms`",
    DESCRIPTION,
)
CHARTS = ("latency_ms", "speedup_vs_eager", "fidelity/sqnr_db", "throughput", "prediction_error_pct")
ERROR_CHARTS = ("prediction_error_pct", "prediction_abs_error_pct", "predicted_latency_ms", "latency_ms")
SERIES_CHARTS = ("error_pct", "abs_error_pct", "measured_ms", "predicted_ms")
SWEEP_CHARTS = ("speedup_vs_eager", "speedup_vs_inductor", "throughput")
"""Figures of which the largest one of a job is its best."""
PROFILE_CHARTS = ("total/ms", "total/backend_ms", "total/python_ms", "total/p95", "verify/measured_ms")
TOTAL = (
    "metrics.`total/ms`",
    "metrics.`total/backend_ms`",
    "metrics.`total/python_ms`",
    "metrics.`total/ci_low`",
    "metrics.`total/ci_high`",
    "metrics.`total/p95`",
    "metrics.`total/cost_per_million_usd`",
    "metrics.`total/failures`",
    "metrics.`verify/measured_ms`",
    "metrics.`verify/error_pct`",
    "params.`function`",
    "params.`hardware`",
)
OF_SEGMENT = ("params.`segment`", "params.`calls`", "params.`family`", "tags.`almaflow.location`")
CONVERSIONS = "tags.`almaflow.kind` = 'conversion'"
WORKLOAD = ("params.`model`", "params.`batch_size`", "params.`conversion`")


@dataclass(frozen=True)
class View:
    """A saved view."""

    key: str
    title: str
    created_at: float
    """Seconds since the epoch: MLflow lists the newest first."""
    state: Mapping[str, Any]
    charts: bool = False
    """Whether it is there for its charts; otherwise it opens on its table."""

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
    quality = [f"metrics.`quality/{name}{end}`" for name in _figures(tags) for end in ("", "_drop")]
    if sweep_id := tags.get("almaflow.sweep_id"):
        columns = [*RESULT, *quality, *WORKLOAD, *DETAILS, *FAILURE]
        state = _page(_conversions("sweep_id", sweep_id), "params.`model`", columns, _bars(CHARTS))
        views.append(View(SWEEP, f"sweep {sweep_id}", started_at, state))
        # A bar for each conversion of each job would be too many to read: the best conversion of each job.
        state = _page(_conversions("sweep_id", sweep_id), "params.`model`", columns, _bars(SWEEP_CHARTS))
        keys = [{"mode": "param", "groupByData": name} for name in ("model", "batch_size")]
        state |= {"groupBy": {"aggregateFunction": "max", "groupByKeys": keys}, "useGroupedValuesInCharts": True}
        state |= {"runListHidden": True}
        views.append(View(SWEEP_BEST, f"sweep {sweep_id}, the fastest of each job", started_at, state, charts=True))
    if job_id := tags.get("almaflow.job_id"):
        columns = [*RESULT, *quality, *DETAILS, *PREDICTION, *FAILURE]
        state = _page(_conversions("job_id", job_id), "metrics.`latency_ms`", columns, _bars(CHARTS))
        state["columnWidths"][NAME] = 250  # the model, at the end of the names, is the same for all
        views.append(View(JOB, f"newest job, {name}", started_at, state))
    columns = ["metrics.`latency_ms`", *PREDICTION, "params.`predictor`", *WORKLOAD, "params.`hardware`"]
    where = f"{CONVERSIONS} AND metrics.prediction_abs_error_pct >= 0"
    state = _page(where, "attributes.start_time", columns, _bars(ERROR_CHARTS)) | {"orderByAsc": False}
    return [*views, View(ACCURACY, "prediction errors of all jobs", 0, state)]


def _figures(tags: Mapping[str, str]) -> list[str]:
    """Return the names of the figures of quality that a job's conversions have."""
    return list(filter(None, tags.get("almaflow.quality", "").split(", ")))


def profile_views(name: str, started_at: float, profile_id: str) -> list[View]:
    """Return the views on a recorded session: the totals of its functions, and the conversions of its segments.

    Args:
        name: The name of the session's run in MLflow.
        started_at: When it was measured, in seconds since the epoch.
        profile_id: Its ID.
    """
    of_it = f"tags.`almaflow.profile_id` = '{profile_id}'"
    totals = f"tags.`almaflow.kind` = 'profile_total' AND {of_it}"
    state = _page(totals, "metrics.`total/ms`", TOTAL, _bars(PROFILE_CHARTS))
    parts = _page(f"{CONVERSIONS} AND {of_it}", "params.`segment`", [*RESULT, *OF_SEGMENT, *DETAILS, *FAILURE], [])
    return [
        View(PROFILE, f"newest {name}: totals", started_at, state),
        View(SEGMENTS, f"newest {name}: segments", started_at, parts),
    ]


def series_view() -> View:
    """Return the view on the series of errors over time that ``almaflow accuracy --track`` keeps."""
    charts = [
        {"type": "LINE", "metricKey": metric, "selectedMetricKeys": [metric], "xAxisKey": "time", "lineSmoothness": 0}
        for metric in SERIES_CHARTS
    ]
    columns = [*ERROR_OVER_TIME, "tags.`almaflow.verdict`", "metrics.`accuracy/points`"]
    state = _page("tags.`almaflow.kind` = 'accuracy'", "attributes.start_time", columns, charts)
    state["columnWidths"] |= {NAME: 330}
    return View(SERIES, "prediction errors over time", 0, state)


def _conversions(tag: str, value: str) -> str:
    return f"{CONVERSIONS} AND tags.`almaflow.{tag}` = '{value}'"


def _bars(metrics: Sequence[str]) -> list[dict[str, Any]]:
    return [{"type": "BAR", "metricKey": metric} for metric in metrics]


def _page(where: str, order: str, columns: Sequence[str], charts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    section = "almaflow"
    shown = {"metricSectionId": section, "runsCountToCompare": 100, "deleted": False, "isGenerated": False}
    return {
        "searchFilter": where,
        "orderByKey": order,
        "orderByAsc": True,
        "selectedColumns": list(columns),
        "columnOrder": [NAME, CREATED, *columns],  # a width counts only for a column that is named here
        "columnWidths": {name: width for name, width in WIDTHS.items() if name in {NAME, CREATED, *columns}},
        "runsHiddenMode": "SHOW_ALL",
        "hideEmptyCharts": True,
        # The charts stay as they are here: otherwise MLflow adds its own for every metric, and sorts.
        "isAccordionReordered": True,
        "compareRunSections": [
            {"uuid": section, "name": "almaflow", "display": True, "isReordered": True, "columns": 1}
        ],
        "compareRunCharts": [
            chart | shown | {"uuid": f"{section}-{chart['type']}-{chart['metricKey']}"} for chart in charts
        ],
    }


def write(client: MlflowClient, experiment_id: str, views: Sequence[View]) -> None:
    """Give an experiment the views that it does not have in this form."""
    tags = client.get_experiment(experiment_id).tags
    for name, value in (view.tag for view in views):
        if tags.get(name) != value:
            client.set_experiment_tag(experiment_id, name, value)
