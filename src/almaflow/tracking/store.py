"""The MLflow store: opened once, initialised before anything else touches it, errors as one line."""

from __future__ import annotations

import re
import socket
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from almaflow.errors import UsageError
from almaflow.machine import home
from almaflow.tracking.session import connect, quiet, reporting
from almaflow.tracking.uris import (
    artifact_root,
    display_uri,
    is_server,
    link_base,
    resolve_uri,
    sqlite_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = [
    "connect",
    "display_uri",
    "experiment_link",
    "newest_job",
    "prepare",
    "quiet",
    "reporting",
    "resolve_uri",
]

PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
CONNECT_TIMEOUT_S = 5.0
LOCK_TIMEOUT_S = 120.0
PAGE = 250


def prepare(uri: str, experiment_name: str) -> str:
    """Make the store at a resolved URI ready and return the ID of the experiment, which is created when it is new.

    Several processes may do this at once: only one of them creates the schema.

    Raises:
        TrackingError: the store cannot be reached, read or written.
        UsageError: the experiment was deleted.
    """
    with reporting(uri, "nothing can be tracked"):
        _reach(uri)
        with _initialising(uri), quiet():
            return _experiment(uri, experiment_name)


@contextmanager
def _initialising(uri: str) -> Iterator[None]:
    """Keep a second process away while the first creates the schema; a server looks after its own."""
    if is_server(uri):
        yield
        return
    from filelock import FileLock

    database = sqlite_path(uri)
    lock = database.with_name(f"{database.name}.lock") if database else home() / "store.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock, timeout=LOCK_TIMEOUT_S):
        if database and not (database.exists() and database.stat().st_size):
            _create(database)
        yield


def _create(database: Path) -> None:
    """Create the schema beside the place and move it there: MLflow opens no store whose schema was left half made."""
    part = database.with_name(f".{database.name}.part")
    part.unlink(missing_ok=True)
    with quiet():
        connect(f"sqlite:///{part.as_posix()}").search_experiments(max_results=1)
    part.replace(database)


def _reach(uri: str) -> None:
    """Fail within seconds where MLflow would retry for minutes: a dead address, a file that is no database."""
    if database := sqlite_path(uri):
        database.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA schema_version")
        return
    parts = urlsplit(uri)
    scheme, host = parts.scheme.partition("+")[0], parts.hostname
    port = parts.port or PORTS.get(scheme)
    proxied = is_server(uri) and scheme in getproxies() and host and not proxy_bypass(host)
    if host and port and not proxied:
        socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()


def _experiment(uri: str, name: str) -> str:
    from mlflow.exceptions import MlflowException

    client = connect(uri)
    found = client.get_experiment_by_name(name)
    if found is None:
        location = None
        if not is_server(uri) and not uri.startswith("databricks"):
            location = (artifact_root(uri) / (re.sub(r"[^\w.-]+", "_", name).strip(".") or "_")).as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # another process was faster
    if found is None or found.lifecycle_stage != "active":
        message = (
            f"the experiment {name!r} was deleted from {display_uri(uri)}: choose another experiment_name, or "
            f"restore it with `mlflow experiments restore --experiment-id {found.experiment_id if found else '?'}`"
        )
        raise UsageError(message)
    return str(found.experiment_id)


def newest_job(uri: str) -> tuple[Run, str] | None:
    """The run of almaflow's newest job, and the name of its experiment; None where the store has no job.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    if (database := sqlite_path(uri)) and not database.exists():
        return None
    with reporting(uri, "nothing can be shown"):
        _reach(uri)
        client, names = experiments(uri)
        with quiet():
            order = ["attributes.start_time DESC"]
            run = next(search(client, list(names), "tags.`almaflow.kind` = 'job'", order, most=1), None)
            return (run, names[run.info.experiment_id]) if run else None


def experiments(uri: str) -> tuple[MlflowClient, dict[str, str]]:
    """A client of the store at a resolved URI, and the names of its experiments by their IDs.

    The first look at a new store creates its schema, which only one process may do.
    """
    with _initialising(uri), quiet():
        client = connect(uri)
        return client, {experiment.experiment_id: experiment.name for experiment in client.search_experiments()}


def search(
    client: MlflowClient,
    experiment_ids: Sequence[str],
    where: str,
    order_by: Sequence[str] = (),
    most: int = PAGE,
) -> Iterator[Run]:
    """Runs, page by page.

    Args:
        client: Of the store.
        experiment_ids: Whose runs.
        where: MLflow's filter.
        order_by: MLflow's order.
        most: Runs of one page; each holds some hundred values.
    """
    token = None
    while experiment_ids:
        page = client.search_runs(
            list(experiment_ids), where, max_results=most, order_by=list(order_by), page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def experiment_link(base: str, experiment_id: str) -> str:
    """The page of an experiment's runs on the server at ``base``.

    Without the workflow type MLflow opens its page for language-model traces, which shows no runs.
    """
    return f"{link_base(base)}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
