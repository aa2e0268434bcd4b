"""Whether a store answers is found out within seconds, and a database that is locked is waited for."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from almaflow.errors import TrackingError
from almaflow.tracking import first_contact, session, store
from almaflow.tracking.first_contact import impatient, wait_for_database

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in session.MLFLOW_DEFAULTS.items():
        monkeypatch.setenv(name, value)


def test_a_server_that_takes_connections_and_never_answers_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    patience = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    monkeypatch.setattr(first_contact, "PATIENCE", patience)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(TrackingError, match="it takes connections and does not answer"):
            store.prepare(f"http://127.0.0.1:{silent.getsockname()[1]}", "x")
    assert time.monotonic() - began < 10
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == session.MLFLOW_DEFAULTS["MLFLOW_HTTP_REQUEST_TIMEOUT"]


def test_the_first_contact_takes_ten_seconds_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    with impatient(session.MLFLOW_DEFAULTS):
        seconds, retries = (int(os.environ[name]) for name in first_contact.PATIENCE)
        assert seconds * (1 + retries) <= 10
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    with impatient(session.MLFLOW_DEFAULTS):
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"


def test_a_locked_database_is_waited_for_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(first_contact, "LOCKED_SAY_S", 0.05)
    with closing(sqlite3.connect(tmp_path / "x.db", check_same_thread=False)) as other:
        other.execute("CREATE TABLE t (a)")
        other.execute("BEGIN EXCLUSIVE")
        release = threading.Timer(0.3, other.rollback)
        release.start()
        with caplog.at_level(logging.WARNING):
            wait_for_database(tmp_path / "x.db")
        release.join()
    (line,) = caplog.messages
    assert "waiting for the MLflow store" in line
    assert "locked, for up to 60 s" in line


def test_a_database_that_stays_locked_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_contact, "LOCKED_SAY_S", 0.05)
    monkeypatch.setattr(first_contact, "LOCKED_WAIT_S", 0.1)
    with closing(sqlite3.connect(tmp_path / "x.db")) as other:
        other.execute("CREATE TABLE t (a)")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingError, match="database is locked"):
            store.prepare(f"sqlite:///{tmp_path}/x.db", "x")
