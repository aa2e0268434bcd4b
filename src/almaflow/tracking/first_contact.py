"""The first contact with a store: it is found out within seconds whether anything answers there."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from almaflow.tracking.uris import is_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
CONNECT_TIMEOUT_S = 5.0

PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""How long a server may take to answer at all, where the user has not set it: ten seconds instead of a minute."""

LOCKED_WAIT_S = 60.0
"""How long a database that another process has locked is waited for; MLflow waits about as long."""
LOCKED_SAY_S = 2.0
"""How long it is waited for without a word."""


def open_port(uri: str) -> None:
    """Connect to the server or database server of a URI, except through a proxy.

    Raises:
        OSError: nothing answers there.
    """
    parts = urlsplit(uri)
    scheme, host = parts.scheme.partition("+")[0], parts.hostname
    port = parts.port or PORTS.get(scheme)
    proxied = is_server(uri) and scheme in getproxies() and host and not proxy_bypass(host)
    if host and port and not proxied:
        socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()


@contextmanager
def impatient(usual: Mapping[str, str]) -> Iterator[None]:
    """Let MLflow wait for a server only as long as ``PATIENCE`` says.

    Args:
        usual: The settings that almaflow gives MLflow otherwise; a setting of the user's stays.
    """
    ours = {name: value for name, value in PATIENCE.items() if os.environ.get(name) == usual[name]}
    os.environ.update(ours)
    try:
        yield
    finally:
        os.environ.update({name: usual[name] for name in ours})


def wait_for_database(path: Path) -> None:
    """Open an sqlite file as a database, and wait for whoever has it locked.

    Raises:
        sqlite3.Error: it is no database, or is locked for longer than ``LOCKED_WAIT_S``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=LOCKED_SAY_S)) as connection:
        try:
            connection.execute("PRAGMA schema_version")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            line = "waiting for the MLflow store %s, which another process has locked, for up to %.0f s"
            logging.getLogger("almaflow").warning(line, path, LOCKED_WAIT_S)
            connection.execute(f"PRAGMA busy_timeout = {LOCKED_WAIT_S * 1000:.0f}")
            connection.execute("PRAGMA schema_version")
