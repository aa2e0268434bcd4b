"""Tracking URIs: resolved to a store, and masked to be shown. Nothing here imports mlflow."""

from __future__ import annotations

import os
import re
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from almaflow.errors import UsageError
from almaflow.machine import home
from almaflow.secrets import mask_uri

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SERVERS = ("http", "https")


def resolve_uri(configured: str | None) -> str:
    """Return the store's absolute URI: as configured, else ``MLFLOW_TRACKING_URI``, else sqlite in almaflow's home.

    Raises:
        UsageError: the URI is a local directory, keeps nothing, or has a scheme that no store of this environment has.
    """
    uri = (configured or "").strip() or os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if not uri:
        return store_of_home(home())
    scheme, separator, rest = uri.partition("://")
    database = scheme.lower().partition("+")[0]
    if database == "sqlite" and separator:
        return _absolute_sqlite(scheme.lower(), rest)
    if (separator and database in DATABASES) or uri == "databricks" or scheme == "databricks":
        return uri
    if separator and scheme.lower() in SERVERS:
        if not urlsplit(uri).hostname:
            message = f"the tracking URI {display_uri(uri)!r} names no server: write {scheme}://HOST:PORT"
            raise UsageError(message)
        return uri
    if not separator or database == "file":
        name = Path(re.sub(r"^[a-z]+:", "", uri)).stem or "mlflow"
        message = (
            f"the tracking URI {uri!r} is a local directory, and MLflow has put local-directory stores into "
            f"maintenance mode: use a database file instead, such as sqlite:///{name}.db"
        )
        raise UsageError(message)
    if scheme in {point.name for point in entry_points(group="mlflow.tracking_store")}:
        return uri
    message = (
        f"the tracking URI {display_uri(uri)!r} has an unknown scheme: write one of {', '.join(DATABASES + SERVERS)}"
    )
    raise UsageError(message)


def store_of_home(directory: Path) -> str:
    """Return the URI of the store that a home of almaflow's has where no other one is named."""
    return _sqlite("sqlite", directory / "mlflow.db")


def _absolute_sqlite(scheme: str, rest: str) -> str:
    location, question, query = rest.partition("?")
    name = location.removeprefix("/")
    if not location.startswith("/") or name in {"", ":memory:"}:
        message = f"the tracking URI '{scheme}://{location}' keeps nothing: name a file, such as sqlite:///mlflow.db"
        raise UsageError(message)
    return _sqlite(scheme, Path(name).expanduser().absolute()) + question + query


def _sqlite(scheme: str, path: Path) -> str:
    return f"{scheme}:///{path.as_posix()}"


def sqlite_path(uri: str) -> Path | None:
    """Return the file of a resolved sqlite URI; None for every other store."""
    match = re.match(r"sqlite(?:\+\w+)?:///([^?]+)", uri)
    return Path(match[1]) if match else None


def is_missing(uri: str) -> bool:
    """Return whether the store is an sqlite file that does not exist yet: it has no runs, and reading creates none."""
    path = sqlite_path(uri)
    return path is not None and not path.exists()


def is_server(uri: str) -> bool:
    """Return whether an MLflow server of its own answers at this URI."""
    return uri.partition("://")[0].lower() in SERVERS


def artifact_root(uri: str) -> Path:
    """Return where a store without a server has artifacts: beside an sqlite file, else in almaflow's home."""
    path = sqlite_path(uri)
    return (path.parent if path else home()) / "mlartifacts"


def display_uri(uri: str) -> str:
    """Return the URI as it may be printed and logged: without user, password and query values."""
    if sqlite_path(uri):
        return uri
    return mask_uri(uri)


def link_base(uri: str) -> str:
    """Return the address of a server as a browser takes it: no credentials, no query, no slash at the end."""
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
