"""A connection to MLflow: quiet, quick to give up, and with errors of one line."""

from __future__ import annotations

import logging
import os
import re
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from almaflow.errors import AlmaflowError, TrackingError
from almaflow.tracking.uris import (
    display_uri,
    mask_credentials,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
