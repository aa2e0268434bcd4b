"""The MLflow store: opened once, initialised before anything else touches it, errors as one line."""

from __future__ import annotations

import logging
import os
import re
import socket
import sqlite3
from contextlib import closing, contextmanager
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from almaflow.errors import AlmaflowError, TrackingError, UsageError
from almaflow.machine import home
from almaflow.tracking.uris import (
    artifact_root,
    display_uri,
    is_server,
    link_base,
    mask_credentials,
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

MLFLOW_DEFAULTS = {
    # With MLflow's own defaults a server that is down blocks every call for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    # Its telemetry is a background thread and a network call: neither belongs beside a measurement.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Progress bars and links to every run of a server, between the lines of a job.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
CONNECT_TIMEOUT_S = 5.0
LOCK_TIMEOUT_S = 120.0
REASON_LENGTH = 240
PAGE = 250
LOGGERS = ("mlflow", "alembic", "urllib3")
_QUIET = Lock()
_QUIET_LEVELS: list[list[int]] = []
"""Those of the loggers as each that is inside found them."""


def connect(uri: str) -> MlflowClient:
    """A client of the store at a resolved URI.

    System metrics need no switch: MLflow samples them for its fluent API only, which almaflow does not use.
    """
    with quiet():
        from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def reporting(uri: str, failed: str, then: str = "") -> Iterator[None]:
    """Turn whatever MLflow, its database driver or the disk raises into one ``TrackingError`` line.

    Args:
        uri: The store; its credentials are masked.
        failed: What could not be done, as in "the run could not be written".
        then: What becomes of the results, or what to do next.

    Raises:
        TrackingError: anything went wrong in the body that is not already an error with a clear line.
    """
    try:
        yield
    except AlmaflowError:
        raise
    except Exception as error:  # noqa: BLE001 - three libraries raise here, and none may end the job
        message = f"{failed} in the MLflow store {display_uri(uri)} ({_reason(error)}){then and '; ' + then}"
        # The cause would show the URI as it is, password included, wherever a traceback is printed.
        raise TrackingError(message) from (error if display_uri(uri) == uri else None)


def _reason(error: Exception) -> str:
    text = " ".join(mask_credentials(str(error) or type(error).__name__).split())
    if "out-of-date database schema" in text:
        return "it was written by an older MLflow: make a copy of it, then run `mlflow db upgrade` on it"
    cause = re.search(r"Failed to establish a new connection: (?:\[Errno -?\d+\] )?([^')]+)", text)
    text = cause[1].lower() if cause else text
    return text if len(text) <= REASON_LENGTH else text[: REASON_LENGTH - 1] + "…"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep MLflow and its HTTP client from printing warnings and tracebacks of errors that have a line of our own."""
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401 - before the levels are read, since its import sets them

    with _QUIET:
        _QUIET_LEVELS.append([logging.getLogger(name).level for name in LOGGERS])
        _set_levels([logging.CRITICAL] * len(LOGGERS))
    try:
        yield
    finally:
        with _QUIET:  # threads leave in any order: the last one brings back what the first one found
            levels = _QUIET_LEVELS.pop()
            if not _QUIET_LEVELS:
                _set_levels(levels)


def _set_levels(levels: Sequence[int]) -> None:
    for name, level in zip(LOGGERS, levels, strict=True):
        logging.getLogger(name).setLevel(level)


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
