"""Which store is meant, how it may be shown, and that it is ready before anything is written."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.real_servers import free_port

from almaflow.errors import TrackingError, UsageError
from almaflow.secrets import mask
from almaflow.tracking import session, store, uris

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def copied_stores() -> None:
    """Stores are made here, not copied."""


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALMAFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name in session.MLFLOW_DEFAULTS:  # the first client sets them for the process
        monkeypatch.setenv(name, os.environ.get(name, session.MLFLOW_DEFAULTS[name]))


def test_the_default_is_sqlite_in_almaflows_home(tmp_path: Path) -> None:
    assert uris.resolve_uri(None) == f"sqlite:///{tmp_path}/home/mlflow.db"
    assert uris.resolve_uri("  ") == uris.resolve_uri(None)
    assert uris.artifact_root(uris.resolve_uri(None)) == tmp_path / "home" / "mlartifacts"


def test_the_variable_counts_and_the_configuration_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert uris.resolve_uri(None) == "http://server:5000"
    assert uris.resolve_uri("https://other") == "https://other"


@pytest.mark.parametrize(
    ("given_uri", "expected"),
    [
        ("sqlite:///x.db", "sqlite:///{cwd}/x.db"),
        ("sqlite:///a/../x.db?timeout=5", "sqlite:///{cwd}/a/../x.db?timeout=5"),
        ("sqlite:////abs/x.db", "sqlite:////abs/x.db"),
        ("sqlite+pysqlite:///x.db", "sqlite+pysqlite:///{cwd}/x.db"),
        ("postgresql+psycopg2://u:p@host/db", "postgresql+psycopg2://u:p@host/db"),
        ("databricks", "databricks"),
        ("databricks://profile", "databricks://profile"),
    ],
)
def test_a_store_is_absolute(given_uri: str, expected: str, tmp_path: Path) -> None:
    assert uris.resolve_uri(given_uri) == expected.format(cwd=tmp_path)


@pytest.mark.parametrize("uri", ["./mlruns", "/data/mlruns", "mlruns", "file:///data/mlruns", "file:mlruns"])
def test_a_directory_is_refused_and_sqlite_named(uri: str) -> None:
    with pytest.raises(UsageError, match=r"maintenance mode: use a database .* sqlite:///mlruns\.db"):
        uris.resolve_uri(uri)


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "htp://host", "http://", "http:///x"])
def test_what_cannot_be_a_store_is_refused_in_one_line(uri: str) -> None:
    with pytest.raises(UsageError) as caught:
        uris.resolve_uri(uri)
    assert "\n" not in str(caught.value)


@given(st.text(st.characters(exclude_categories=["Z", "C"], exclude_characters="'\""), min_size=1, max_size=20))
def test_no_password_is_shown(password: str) -> None:
    secret = f"S3cr{password}et"
    for uri in (f"https://me:{secret}@host/path", f"postgresql+psycopg2://me:{secret}@host:5432/db"):
        shown = uris.display_uri(uri)
        assert "S3cr" not in shown
        assert "et@" not in shown
        assert "me:" not in shown
        assert "host" in shown
        assert "S3cr" not in mask(f"could not reach {uri} today")


def test_a_query_may_hold_a_password_too() -> None:
    assert (
        uris.display_uri("postgresql://host/db?user=me&password=S3cr") == "postgresql://host/db?user=***&password=***"
    )
    assert uris.display_uri("sqlite:////a@b/x.db") == "sqlite:////a@b/x.db"


def test_a_link_is_for_the_browser() -> None:
    link = store.experiment_link("https://me:pw@host:8443/mlflow/", "7")
    assert link == "https://host:8443/mlflow/#/experiments/7/runs?workflowType=machine_learning"


def test_an_unreachable_server_is_one_line_within_seconds() -> None:
    started = time.monotonic()
    with pytest.raises(TrackingError) as caught:
        store.prepare(f"http://me:S3cr@127.0.0.1:{free_port()}", "x")
    assert time.monotonic() - started < 15
    assert "\n" not in str(caught.value)
    assert "refused" in str(caught.value)
    assert "S3cr" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_file_that_is_no_database_is_one_line_at_once(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("no database " * 100)
    started = time.monotonic()
    with pytest.raises(TrackingError, match="file is not a database"):
        store.prepare(uris.resolve_uri("sqlite:///x.db"), "x")
    assert time.monotonic() - started < 10


def test_a_store_that_is_not_there_has_no_experiment_and_is_not_made(tmp_path: Path) -> None:
    assert store.newest_job(uris.resolve_uri("sqlite:///x.db")) is None
    assert not (tmp_path / "x.db").exists()


def test_of_those_that_are_quiet_at_once_the_last_ends_it() -> None:
    logger = logging.getLogger("mlflow")
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(session.quiet())
        second.enter_context(session.quiet())
        first.close()
        assert logger.level == logging.CRITICAL
        second.close()
        assert logger.level < logging.CRITICAL


@pytest.mark.slow
def test_a_fresh_store_is_made_once_quietly_and_found_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    uri = uris.resolve_uri("sqlite:///a b/x.db")
    experiment_id = store.prepare(uri, "my models / first")
    assert store.prepare(uri, "my models / first") == experiment_id
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert not caplog.records
    with sqlite3.connect(tmp_path / "a b" / "x.db") as connection:
        rows = connection.execute(
            "SELECT name, artifact_location FROM experiments WHERE experiment_id = ?", experiment_id
        )
        assert rows.fetchall() == [("my models / first", (tmp_path / "a b/mlartifacts/my_models_first").as_uri())]
    assert store.newest_job(uri) is None
    assert logging.getLogger("mlflow").level < logging.CRITICAL


@pytest.mark.slow
def test_a_deleted_experiment_is_a_clear_error() -> None:
    uri = uris.resolve_uri(None)
    experiment_id = store.prepare(uri, "gone")
    session.connect(uri).delete_experiment(experiment_id)
    with pytest.raises(UsageError, match=rf"'gone' was deleted .* --experiment-id {experiment_id}"):
        store.prepare(uri, "gone")


@pytest.mark.slow
def test_a_store_of_another_mlflow_names_what_is_to_be_upgraded(tmp_path: Path) -> None:
    schemas = {"older": "451aebb31d03", "newer": "ffffffffffff"}
    store.prepare(uris.resolve_uri("sqlite:///x.db"), "x")
    for name, schema in schemas.items():
        shutil.copy(tmp_path / "x.db", tmp_path / f"{name}.db")
        with closing(sqlite3.connect(tmp_path / f"{name}.db")) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (schema,))
    prepares = "".join(
        f"try: prepare('sqlite:///{tmp_path}/{name}.db', 'x')\nexcept TrackingError as error: print(error)\n"
        for name in schemas
    )
    script = f"from almaflow.errors import TrackingError\nfrom almaflow.tracking.store import prepare\n{prepares}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    older, newer = done.stdout.splitlines()
    assert "by an older MLflow: make a copy of it, then run `mlflow db upgrade` on it" in older
    assert "by a newer MLflow: upgrade MLflow here" in newer
    assert "db upgrade" not in newer


STARTS_TOGETHER = """
import os, sys
import mlflow
from almaflow.tracking.store import prepare
begun, begin = os.pipe()
pids = []
for _ in range(4):
    pids.append(os.fork())
    if not pids[-1]:
        os.close(begin)
        os.read(begun, 1)  # until all are there
        print(prepare(sys.argv[1], "together"), flush=True)
        os._exit(0)
os.close(begin)
sys.exit(sum(os.waitpid(pid, 0)[1] != 0 for pid in pids))
"""


@pytest.mark.slow
def test_four_processes_open_a_fresh_store_at_once() -> None:
    """They are forks, since MLflow imports for seconds, and have done nothing with a store before."""
    command = [sys.executable, "-c", STARTS_TOGETHER, uris.resolve_uri(None)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    answers = done.stdout.split()
    assert len(answers) == 4
    assert len(set(answers)) == 1


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_makes_the_store_leaves_none_half_made(tmp_path: Path) -> None:
    script = f"from almaflow.tracking.store import prepare; prepare('sqlite:///{tmp_path}/x.db', 'almaflow')"
    process = subprocess.Popen([sys.executable, "-c", script])
    while not any(map(_has_tables, (tmp_path / "x.db", tmp_path / ".x.db.part"))):
        assert process.poll() is None
    process.kill()
    process.wait()
    assert not _has_tables(tmp_path / "x.db")
    uri = f"sqlite:///{tmp_path}/x.db"
    assert store.prepare(uri, "almaflow") == store.prepare(uri, "almaflow")
    assert not list(tmp_path.glob(".x.db.part"))


def _has_tables(path: Path) -> bool:
    """Whether a part of the schema is there."""
    if not path.exists():
        return False
    with closing(sqlite3.connect(path)) as connection, suppress(sqlite3.OperationalError):
        return bool(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    return False


@pytest.mark.slow
def test_reading_a_store_leaves_no_file_beside_it() -> None:
    """It may be another user's, in a directory where nothing can be written."""
    uri = uris.resolve_uri(None)
    store.prepare(uri, "almaflow")
    database = uris.sqlite_path(uri)
    assert database is not None
    lock = database.with_name(f"{database.name}.lock")
    lock.unlink()
    assert store.newest_job(uri) is None
    assert not lock.exists()
