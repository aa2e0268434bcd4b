"""An independent count: what lies on disk against what the store shows, without a line of almaflow or MLflow.

The store is read as the sqlite database that it is, and records as the JSON that they are.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.faults.place import SLEEPS_MS

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

ENOUGH_CALLS = 4
"""The quickest of so many calls tells the version of the model, however busy the machine is."""
AGREE = 1e-6
ROUNDED = 1e-4
"""How far a figure of the store may be from that on disk: MLflow gets five digits."""


@dataclass(frozen=True)
class Result:
    """What a conversion gave, as one ``outcome.json`` has it."""

    job: str
    conversion: str
    started_ms: int
    status: str
    interrupted: bool
    samples_ms: tuple[float, ...]
    waits: bool
    """Its job is not marked as tracked."""

    @property
    def ok(self) -> bool:
        return self.status == "ok" and not self.interrupted

    @property
    def key(self) -> tuple[str, str, int]:
        return self.job, self.conversion, self.started_ms

    @property
    def version(self) -> int | None:
        return version_of(self.samples_ms)


@dataclass(frozen=True)
class Run:
    """A run as the store has it."""

    run_id: str
    kind: str
    status: str
    active: bool
    started_ms: int
    ended: bool
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]

    @property
    def key(self) -> tuple[str, str, int]:
        return *self.logical, self.started_ms

    @property
    def logical(self) -> tuple[str, str]:
        """What may be there once: a conversion of a job."""
        return self.tags.get("almaflow.job_id", ""), self.params.get("conversion", "")


def version_of(samples_ms: Iterable[float]) -> int | None:
    """The version of the model by its quickest call; None where there are too few calls to tell."""
    samples = sorted(samples_ms)
    if len(samples) < ENOUGH_CALLS:
        return None
    return max((each for each, sleep in SLEEPS_MS.items() if sleep <= samples[0] * 1.01), default=None)


def results(home: Path) -> list[Result]:
    """Every result on disk that can be read."""
    found = []
    for path in sorted(home.glob("jobs/*/conversions/*/outcome.json")):
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            data = json.loads(path.read_text(encoding="utf-8"))
            directory = path.parent.parent.parent
            found.append(
                Result(
                    job=directory.name,
                    conversion=data["planned"]["name"],
                    started_ms=int(data["started_at"] * 1000),
                    status=data["status"],
                    interrupted=data["interrupted"],
                    samples_ms=tuple((data["measurement"] or {}).get("samples_ms", ())),
                    waits=not (directory / "tracked").exists(),
                )
            )
    return found


def runs(database: Path | str) -> list[Run]:
    """Every run in the store, deleted ones too: of an sqlite file, or of PostgreSQL at an address."""
    if isinstance(database, Path) and not database.exists():
        return []
    with closing(_connected(database)) as store:
        tags, params, metrics = (_values(store, table) for table in ("tags", "params", "latest_metrics"))
        rows = _asked(store, "SELECT run_uuid, status, lifecycle_stage, start_time, end_time FROM runs")
    return [
        Run(
            run_id=run_id,
            kind=tags.get(run_id, {}).get("almaflow.kind", ""),
            status=status,
            active=stage == "active",
            started_ms=started,
            ended=ended is not None,
            tags=tags.get(run_id, {}),
            params=params.get(run_id, {}),
            metrics=metrics.get(run_id, {}),
        )
        for run_id, status, stage, started, ended in rows
    ]


def _connected(database: Path | str) -> Any:
    if isinstance(database, Path):
        name = quote(str(database), safe="/")  # any character may be in a directory's name
        return sqlite3.connect(f"file:{name}?mode=rw", uri=True, timeout=30)
    import psycopg2  # type: ignore[import-untyped]

    return psycopg2.connect(database)


def _asked(store: Any, sql: str) -> list[tuple[Any, ...]]:
    cursor = store.cursor()
    cursor.execute(sql)
    rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _values(store: Any, table: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for run_id, key, value in _asked(store, f"SELECT run_uuid, key, value FROM {table}"):  # noqa: S608 - our own words
        found.setdefault(run_id, {})[key] = value
    return found


@dataclass(frozen=True)
class Count:
    """Disk and store at one moment."""

    on_disk: tuple[Result, ...]
    in_store: tuple[Run, ...]

    @classmethod
    def of(cls, home: Path, database: Path | str) -> Count:
        return cls(tuple(results(home)), tuple(runs(database)))

    @property
    def conversions(self) -> list[Run]:
        """Active runs of conversions."""
        return [run for run in self.in_store if run.active and run.kind == "conversion"]

    @property
    def known(self) -> list[Result]:
        """What is on disk and need not be measured again: it waits for the store, or the store has it."""
        there = {run.key for run in self.conversions}
        return [each for each in self.on_disk if each.ok and (each.waits or each.key in there)]

    def at_any_time(self) -> list[str]:
        """What must not be, whatever has just happened: doubled results, and figures that are not those on disk.

        A run that was begun and not ended shows no figure: a lost answer leaves one until the next sync.
        """
        wrong = doubled(run for run in self.conversions if run.ended)
        known = {each.key: each for each in self.on_disk}
        for run in self.conversions:
            kept = known.get(run.key)
            if kept is None or not run.ended:
                continue
            shown = run.metrics.get("latency_ms")
            if kept.ok and shown is not None and abs(shown - median(kept.samples_ms)) > ROUNDED * shown:
                wrong.append(f"other figures: {run.key} has {shown} ms, and on disk is {median(kept.samples_ms)} ms")
            if run.status == "FINISHED" and not kept.ok:
                wrong.append(f"counted as done: {run.key} is {kept.status}, interrupted: {kept.interrupted}")
            if kept.interrupted and run.status != "KILLED":
                wrong.append(f"not KILLED: {run.key} was interrupted, and its run is {run.status}")
            if kept.interrupted and shown is not None:
                wrong.append(f"interrupted with a headline: {run.key} shows {shown} ms")
        return wrong

    def after_sync(self, excused: Container[tuple[str, str, int]] = ()) -> list[str]:
        """What must not be once ``sync`` has ended well and nothing runs.

        Args:
            excused: Results that the store had, and that somebody took out of it.
        """
        there = {run.key: run for run in self.conversions}
        gone = [each.key for each in self.on_disk if each.key not in there and each.key not in excused]
        wrong = [f"lost: {key} is on disk only" for key in gone]
        wrong += [f"waits after sync: {each.key}" for each in self.on_disk if each.waits]
        wrong += [f"without figures: {each.key}" for each in self.on_disk if each.ok and not _has_figures(there, each)]
        wrong += [
            f"runs for ever: {run.kind} {run.key}" for run in self.in_store if run.active and run.status == "RUNNING"
        ]
        wrong += doubled(self.conversions)
        return wrong + self.at_any_time()


def doubled(found: Iterable[Run]) -> list[str]:
    """Results that are there more than once."""
    counted = Counter(run.logical for run in found)
    return [f"doubled: {key} is there {count} times" for key, count in counted.items() if count > 1]


def _has_figures(there: dict[tuple[str, str, int], Run], result: Result) -> bool:
    run = there.get(result.key)
    return run is None or "latency_ms" in run.metrics


def shown_of_other_model(output: dict[str, Any], count: Count, version: int) -> list[str]:
    """Figures that ``output=`` shows of another version of the model: each is traced to its samples."""
    wrong = []
    kept = {median(each.samples_ms): each for each in count.on_disk if each.samples_ms}
    for entry in output["conversions"]:
        latency = entry["latency_ms"]
        if entry["status"] != "ok" or latency is None:
            continue
        source = next((each for value, each in kept.items() if abs(value - latency) <= AGREE * value), None)
        if source is None:
            wrong.append(f"from nowhere: {entry['conversion']} {latency} ms")
        elif source.version not in {None, version}:
            wrong.append(f"of another model: {entry['conversion']} {latency} ms is of version {source.version}")
    return wrong


def locks(home: Path) -> list[str]:
    """Locks of almaflow's home that a process still holds."""
    import fcntl

    held = []
    for path in home.rglob("lock"):
        with path.open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(f"locked for ever: {path.relative_to(home)}")
    return held


def secrets(root: Path, words: Iterable[str], *, everywhere: bool = False) -> list[str]:
    """Files with one of the words in them; what the user wrote is not searched unless it is to be ``everywhere``."""
    found = []
    for path in root.rglob("*"):
        own = path.suffix == ".py" or ".git" in path.parts
        if path.is_file() and (everywhere or not own):
            data = path.read_bytes()
            found += [f"{word} is in {path.relative_to(root)}" for word in words if word.encode() in data]
    return found
