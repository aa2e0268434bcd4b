"""A cache of a store's scored runs: an sqlite file in almaflow's home that can be deleted at any time."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import astuple, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from almaflow.machine import home
from almaflow.records import RecordedPrediction, ScoredRun
from almaflow.secrets import PRIVATE
from almaflow.tracking.uris import sqlite_path

if TYPE_CHECKING:
    from collections.abc import Sequence

Later = dict[str, dict[str, RecordedPrediction]]
"""Predictions that were made after the measurement, by the ID of the run that measured and the predictor's label."""

VERSION = 6
"""The version of the file's form, a part of its name: files of other versions are not read."""
_HEADER = 100
"""Bytes of an sqlite file's header, in which each transaction counts up."""
_FACTS = [each.name for each in fields(ScoredRun) if each.name not in {"environment", "said"}]


def state_of(uri: str) -> str | None:
    """Return what differs whenever something was written to an sqlite store; None for other stores.

    None too where a journal lies beside the file: then not all that was written is in the file itself.
    """
    path = sqlite_path(uri)
    if path is None or any(path.with_name(f"{path.name}-{journal}").exists() for journal in ("wal", "journal")):
        return None
    try:
        with path.open("rb") as file:
            header, status = file.read(_HEADER), os.fstat(file.fileno())
    except OSError:
        return None
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns} {header.hex()}"


@dataclass(frozen=True)
class Cached:
    """The runs of one store in the order in which it lists them, and the state that it was in."""

    runs: list[ScoredRun] = field(default_factory=list)
    settled: int = 0
    """How many of the runs are not expected to change any more."""
    state: str | None = None
    """The state of the store in which all of this was read; None where that is not known."""
    later: Later = field(default_factory=dict)
    """The later predictions in that state."""


class RunCache:
    """The scored runs of one store in the order in which it lists them.

    Several processes may read and write at once, since each write is one transaction.
    """

    def __init__(self, uri: str) -> None:
        digest = hashlib.sha256(uri.encode()).hexdigest()[:16]
        self._path = home() / "cache" / f"accuracy-{VERSION}-{digest}.db"

    def read(self, wanted: str | None = None) -> Cached:
        """Read what is cached: nothing where the file is missing or broken, or of another state than the one wanted."""
        try:
            with closing(self._connect()) as connection, connection:
                connection.execute("BEGIN")  # all of it as one process wrote it
                settled, state, later = connection.execute("SELECT count, state, later FROM settled").fetchone()
                if wanted not in {None, state}:
                    return Cached()
                environments = {
                    key: json.loads(text) for key, text in connection.execute("SELECT id, data FROM environments")
                }
                runs = [
                    _run(json.loads(text), environments[key])
                    for text, key in connection.execute("SELECT data, environment FROM runs ORDER BY position")
                ]
            return Cached(runs, settled, state, _later(json.loads(later or "[]")))
        except (sqlite3.Error, ValueError, TypeError, KeyError):
            with suppress(OSError):
                self._path.unlink()
            return Cached()

    def replace(
        self, position: int, runs: Sequence[ScoredRun], settled: int, whole: tuple[str, Later] | None = None
    ) -> None:
        """Replace all runs from a position on; where that fails, they are read again next time.

        Args:
            position: The position of the first run that is replaced.
            runs: The runs from there on.
            settled: How many of all runs are not expected to change any more.
            whole: The state of the store before they were read, and all its later predictions, where both are known.
        """
        with suppress(sqlite3.Error, OSError), closing(self._connect()) as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            (there,) = connection.execute("SELECT count(*) FROM runs").fetchone()
            if there < position:  # another process has begun anew meanwhile
                return
            connection.execute("DELETE FROM runs WHERE position >= ?", (position,))
            keys: dict[str, int] = {}
            for each in runs:
                text = json.dumps(each.environment, sort_keys=True)
                if text not in keys:
                    connection.execute("INSERT OR IGNORE INTO environments (data) VALUES (?)", (text,))
                    (keys[text],) = connection.execute("SELECT id FROM environments WHERE data = ?", (text,)).fetchone()
                row = [getattr(each, name) for name in _FACTS], [astuple(prediction) for prediction in each.said]
                connection.execute("INSERT INTO runs VALUES (?, ?, ?)", (position, json.dumps(row), keys[text]))
                position += 1
            state, later = whole or (None, {})
            entries = [(run, [astuple(each) for each in by_label.values()]) for run, by_label in later.items()]
            known = settled, state, json.dumps(entries)
            connection.execute("UPDATE settled SET count = ?, state = ?, later = ?", known)

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(PRIVATE, parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=20)
        connection.executescript(
            "CREATE TABLE IF NOT EXISTS settled (id INTEGER PRIMARY KEY, count INTEGER, state TEXT, later TEXT);"
            "INSERT OR IGNORE INTO settled (id, count) VALUES (1, 0);"
            "CREATE TABLE IF NOT EXISTS environments (id INTEGER PRIMARY KEY, data TEXT UNIQUE);"
            "CREATE TABLE IF NOT EXISTS runs (position INTEGER PRIMARY KEY, data TEXT, environment INTEGER);"
        )
        return connection


def _later(entries: list[tuple[str, list[list[Any]]]]) -> Later:
    return {run: {each[0]: RecordedPrediction(*each) for each in by_label} for run, by_label in entries}


def _run(row: list[list[Any]], environment: dict[str, str]) -> ScoredRun:
    facts, predictions = row
    values = dict(zip(_FACTS, facts, strict=True))
    return ScoredRun(**values, environment=environment, said=tuple(RecordedPrediction(*each) for each in predictions))
