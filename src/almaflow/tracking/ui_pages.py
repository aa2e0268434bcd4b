"""The prepared pages of a store: which experiments have them, and their addresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from almaflow.tracking.schema import ACCURACY_EXPERIMENT
from almaflow.tracking.session import session
from almaflow.tracking.store import newest_of
from almaflow.tracking.ui_views import SWEEP, SWEEP_BEST, TAG, View, profile_views, series_view, views_of, write
from almaflow.tracking.uris import is_missing, link_base

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True)
class Pages:
    """The views that an experiment has."""

    experiment_id: str
    experiment: str
    views: tuple[View, ...]


def prepare_pages(uri: str) -> list[Pages]:
    """Bring the views of all experiments that have some up to date; the experiment of the newest job comes first.

    Raises:
        TrackingError: the store cannot be reached, read or written.
    """
    if is_missing(uri):
        return []
    with session(uri, "nothing can be shown", reach=True) as client:
        found = sorted(_newest(client).items(), key=lambda each: -each[1].info.start_time)
        pages = [Pages(run.info.experiment_id, name, tuple(_views(client, run))) for name, run in found]
        for each in pages:
            write(client, each.experiment_id, each.views)
    return pages


def _newest(client: MlflowClient) -> dict[str, Run]:
    """Return the newest job, or series of errors, of each experiment that has views, and the newest job of all."""
    every = {each.experiment_id: each for each in client.search_experiments()}
    wanted = [key for key, each in every.items() if any(name.startswith(f"{TAG}almaflow-") for name in each.tags)]
    if newest := newest_of(client, list(every), "job"):
        wanted.append(newest.info.experiment_id)
    names = {every[key].name for key in wanted}
    names |= {ACCURACY_EXPERIMENT.format(name) for name in names}
    runs = {}
    for key, each in every.items():
        run = (newest_of(client, [key], "job") or newest_of(client, [key], "accuracy")) if each.name in names else None
        if run:
            runs[each.name] = run
    return runs


def _views(client: MlflowClient, newest: Run) -> list[View]:
    if newest.data.tags["almaflow.kind"] == "accuracy":
        return [series_view()]
    of_job = views_of(newest.info.run_name, newest.info.start_time / 1000, newest.data.tags)
    profile = newest_of(client, [newest.info.experiment_id], "profile")
    profiled = []
    if profile:
        name, started_at = profile.info.run_name, profile.info.start_time / 1000
        profiled = profile_views(name, started_at, profile.data.tags["almaflow.profile_id"])
    # The page of what was done last is opened: a session's jobs are segments of it.
    views = [*profiled, *of_job] if "almaflow.profile_id" in newest.data.tags else [*of_job, *profiled]
    if "almaflow.sweep_id" in newest.data.tags:
        return views
    # Behind the page of a job that came later, so that the newest is opened.
    earlier = newest_of(client, [newest.info.experiment_id], "sweep")
    swept = views_of("", earlier.info.start_time / 1000, earlier.data.tags) if earlier else []
    return [*views, *(each for each in swept if each.key in {SWEEP, SWEEP_BEST})]


def link(base: str, experiment_id: str, view: str, *, charts: bool = False) -> str:
    """Return the address of a view.

    Args:
        base: Address of the MLflow server.
        experiment_id: The experiment whose runs are shown.
        view: Its key, such as ``SWEEP``.
        charts: Open the charts instead of the table.
    """
    query = {
        "viewStateShareKey": view,
        "workflowType": "machine_learning",  # without it MLflow opens its page for traces of language models
        "compareRunsMode": "CHART" if charts else "TABLE",
    }
    return f"{link_base(base)}/#/experiments/{experiment_id}/runs?{urlencode(query)}"
