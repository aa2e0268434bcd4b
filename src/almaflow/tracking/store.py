"""The experiments of an MLflow store and their runs, and the store made ready for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from almaflow.errors import TrackingError, UsageError
from almaflow.tracking.session import session
from almaflow.tracking.uris import artifact_root, display_uri, is_missing, is_server, link_base

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE = 250


def prepare(uri: str, experiment_name: str) -> str:
    """Make the store at a resolved URI ready and return the ID of the experiment, which is created when it is new.

    Several processes may do this at once.

    Raises:
        TrackingError: the store cannot be reached, read or written.
        UsageError: the experiment was deleted.
    """
    with session(uri, "nothing can be tracked", reach=True) as client:
        return _experiment(client, uri, experiment_name)


def _experiment(client: MlflowClient, uri: str, name: str) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        location = None
        if not is_server(uri) and not uri.startswith("databricks"):
            location = (artifact_root(uri) / (re.sub(r"[^\w.-]+", "_", name).strip(".") or "_")).as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(name)  # another process was faster
    if experiment is None or experiment.lifecycle_stage != "active":
        experiment_id = experiment.experiment_id if experiment else "?"
        message = (
            f"the experiment {name!r} was deleted from {display_uri(uri)}: choose another experiment_name, or "
            f"restore it with `mlflow experiments restore --experiment-id {experiment_id}`"
        )
        raise UsageError(message)
    return str(experiment.experiment_id)


def answers(uri: str) -> bool:
    """Return whether the store at a resolved URI can be reached and read."""
    try:
        with session(uri, "", reach=True) as client:
            client.search_experiments(max_results=1)
    except TrackingError:
        return False
    return True


def newest_job(uri: str) -> tuple[Run, str] | None:
    """Return the run of almaflow's newest job, and its experiment's name; None where the store has no job.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    if is_missing(uri):
        return None
    with session(uri, "nothing can be shown", reach=True) as client:
        names = experiments(client)
        run = newest_of(client, list(names), "job")
        return (run, names[run.info.experiment_id]) if run else None


def newest_of(client: MlflowClient, experiment_ids: Sequence[str], kind: str) -> Run | None:
    """Return the newest run of a kind (the tag ``almaflow.kind``) in some experiments; None where there is none."""
    order = ["attributes.start_time DESC"]
    return next(search(client, experiment_ids, f"tags.`almaflow.kind` = '{kind}'", order, most=1), None)


def experiments(client: MlflowClient) -> dict[str, str]:
    """Return the names of a store's experiments by their IDs."""
    return {experiment.experiment_id: experiment.name for experiment in client.search_experiments()}


def search(  # noqa: PLR0913 - MLflow's own arguments
    client: MlflowClient,
    experiment_ids: Sequence[str],
    where: str,
    order_by: Sequence[str] = (),
    most: int = PAGE,
    *,
    deleted: bool = False,
) -> Iterator[Run]:
    """Yield the runs that fit, read page by page.

    Args:
        client: A client of the store.
        experiment_ids: The experiments to search; none have no runs.
        where: A condition in MLflow's filter language.
        order_by: The order in MLflow's words.
        most: The number of runs in one page; each run holds some hundred values.
        deleted: Search among the runs that were deleted, which MLflow keeps until ``mlflow gc``.
    """
    from mlflow.entities import ViewType

    kind = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
    token = None
    while experiment_ids:
        page = client.search_runs(
            list(experiment_ids), where, kind, max_results=most, order_by=list(order_by), page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def experiment_link(base: str, experiment_id: str) -> str:
    """Return the page of an experiment's runs on the server at ``base``.

    Without the workflow type MLflow opens its page for language-model traces, which shows no runs.
    """
    return f"{link_base(base)}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
