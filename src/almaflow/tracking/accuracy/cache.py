"""A cache of a store's scored runs: an sqlite file in almaflow's home that can be deleted at any time."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing, suppress
from dataclasses import astuple, fields
from typing import TYPE_CHECKING, Any

from almaflow.machine import home
from almaflow.records import RecordedPrediction, ScoredRun
from almaflow.secrets import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = 4
"""The version of the file's form, a part of its name: files of other versions are not read."""
_FACTS = [field.name for field in fields(ScoredRun) if field.name not in {"environment", "said"}]


class RunCache:
    """The scored runs of one store in the order in which it lists them.

    Several processes may read and write at once, since each write is one transaction.
    """

    def __init__(self, uri: str) -> None:
        digest = hashlib.sha256(uri.encode()).hexdigest()[:16]
        self._path = home() / "cache" / f"accuracy-{VERSION}-{digest}.db"

    def read(self) -> tuple[list[ScoredRun], int]:
        """Read the runs, and how many of them have settled; no runs where the file is missing or broken."""
        try:
            with closing(self._connect()) as connection:
                (settled,) = connection.execute("SELECT count FROM settled").fetchone()
                environments = {
                    key: json.loads(text) for key, text in connection.execute("SELECT id, data FROM environments")
                }
                runs = [
                    _run(json.loads(text), environments[key])
                    for text, key in connection.execute("SELECT data, environment FROM runs ORDER BY position")
                ]
        except (sqlite3.Error, ValueError, TypeError, KeyError):
            with suppress(OSError):
                self._path.unlink()
            return [], 0
        return runs, settled

    def replace(self, position: int, runs: Sequence[ScoredRun], settled: int) -> None:
        """Replace all runs from a position on; where that fails, they are read again next time.

        Args:
            position: The position of the first run that is replaced.
            runs: The runs from there on.
            settled: How many of all runs are not expected to change any more.
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
            connection.execute("UPDATE settled SET count = ?", (settled,))

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(PRIVATE, parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=20)
        connection.executescript(
            "CREATE TABLE IF NOT EXISTS settled (id INTEGER PRIMARY KEY, count INTEGER);"
            "INSERT OR IGNORE INTO settled VALUES (1, 0);"
            "CREATE TABLE IF NOT EXISTS environments (id INTEGER PRIMARY KEY, data TEXT UNIQUE);"
            "CREATE TABLE IF NOT EXISTS runs (position INTEGER PRIMARY KEY, data TEXT, environment INTEGER);"
        )
        return connection


def _run(row: list[list[Any]], environment: dict[str, str]) -> ScoredRun:
    facts, predictions = row
    values = dict(zip(_FACTS, facts, strict=True))
    return ScoredRun(**values, environment=environment, said=tuple(RecordedPrediction(*each) for each in predictions))
