"""A session with an MLflow store: quiet, quick to give up, and with errors of one line."""

from __future__ import annotations

import logging
import os
import re
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from almaflow.errors import AlmaflowError, TrackingError
from almaflow.machine import home
from almaflow.secrets import mask
from almaflow.tracking.first_contact import impatient, open_port, wait_for_database
from almaflow.tracking.uris import display_uri, is_server, sqlite_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mlflow import MlflowClient


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

REASON_LENGTH = 240
LOGGERS = ("mlflow", "alembic", "urllib3")
LOCK_TIMEOUT_S = 120.0

_QUIET = Lock()
_LEVELS_BEFORE: list[list[int]] = []
"""The loggers' levels as each open session found them: loggers belong to the process, and so does this list."""


@contextmanager
def session(uri: str, failed: str, then: str = "", *, reach: bool = False) -> Iterator[MlflowClient]:
    """Open a client of the store at a resolved URI, and turn what the body raises into one ``TrackingError`` line.

    The first session with a new store creates its schema; only one process at a time does so.

    Args:
        uri: The store; its credentials are masked.
        failed: What could not be done, as in "the run could not be written".
        then: What becomes of the results, or what to do next.
        reach: Fail within seconds where nothing answers; MLflow alone would retry.

    Raises:
        TrackingError: MLflow, its database driver or the disk raised something that is not already an error of
            almaflow's with a clear line.
    """
    try:
        with quiet():
            if reach:
                _reach(uri)
            with _initialising(uri):
                client = connect(uri)
            yield client
    except AlmaflowError:
        raise
    except Exception as error:  # noqa: BLE001 - three libraries raise here, and none may end the job
        message = f"{failed} in the MLflow store {display_uri(uri)} ({_reason(error)}){then and '; ' + then}"
        # The cause would show the URI as it is, password included, wherever a traceback is printed.
        raise TrackingError(message) from (error if display_uri(uri) == uri else None)


def connect(uri: str) -> MlflowClient:
    """Open a client of the store at a resolved URI, outside a session.

    System metrics need no switch: MLflow samples them for its fluent API only, which almaflow does not use.
    """
    with quiet():
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _reach(uri: str) -> None:
    """Fail within seconds where MLflow would retry for minutes: a dead address, a file that is no database."""
    if database := sqlite_path(uri):
        wait_for_database(database)
        return
    if not is_server(uri):
        open_port(uri)
        return
    with impatient(MLFLOW_DEFAULTS):
        open_port(uri)
        connect(uri).search_experiments(max_results=1)


def _reason(error: Exception) -> str:
    text = " ".join(mask(str(error) or type(error).__name__).split())
    if found := re.search(r"out-of-date database schema \(found version (\w+)", text):
        if found[1] != "None" and not _is_known(found[1]):
            return "it was written by a newer MLflow: upgrade MLflow here, as by `pip install --upgrade mlflow`"
        return "it was written by an older MLflow: make a copy of it, then run `mlflow db upgrade` on it"
    if "mlflow-artifacts URI was supplied" in text:
        return "files of this experiment go through an MLflow server: give its address by --uri in place of the store's"
    if "ReadTimeoutError" in text:
        return "it takes connections and does not answer"
    cause = re.search(r"Failed to establish a new connection: (?:\[Errno -?\d+\] )?([^')]+)", text)
    text = cause[1].lower() if cause else text
    return text if len(text) <= REASON_LENGTH else text[: REASON_LENGTH - 1] + "…"


def _is_known(revision: str) -> bool:
    """Return whether MLflow as it is installed knows this version of its schema, its own or an older one."""
    from importlib.resources import files

    versions = files("mlflow.store.db_migrations.versions").iterdir()
    return any(file.name.startswith(revision) for file in versions)


@contextmanager
def _initialising(uri: str) -> Iterator[None]:
    """Keep a second process away while the first creates the schema; a server looks after its own."""
    if is_server(uri):
        yield
        return
    database = sqlite_path(uri)
    if database and database.exists() and database.stat().st_size:  # it was moved there whole
        yield
        return
    from filelock import FileLock

    lock = database.with_name(f"{database.name}.lock") if database else home() / "store.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock, timeout=LOCK_TIMEOUT_S):
        if database and not (database.exists() and database.stat().st_size):
            _create(database)
        yield


def _create(database: Path) -> None:
    """Create the schema in another file and move it: MLflow opens no store whose schema is half made."""
    part = database.with_name(f".{database.name}.part")
    part.unlink(missing_ok=True)
    connect(f"sqlite:///{part.as_posix()}").search_experiments(max_results=1)
    part.replace(database)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep MLflow and its HTTP client from printing warnings and tracebacks of errors that have a line of our own."""
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401 - before the levels are read, since its import sets them

    with _QUIET:
        _LEVELS_BEFORE.append([logging.getLogger(name).level for name in LOGGERS])
        _set_levels([logging.CRITICAL] * len(LOGGERS))
    try:
        yield
    finally:
        with _QUIET:  # threads leave in any order: the last one brings back what the first one found
            levels = _LEVELS_BEFORE.pop()
            if not _LEVELS_BEFORE:
                _set_levels(levels)


def _set_levels(levels: Sequence[int]) -> None:
    for name, level in zip(LOGGERS, levels, strict=True):
        logging.getLogger(name).setLevel(level)
