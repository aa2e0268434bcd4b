"""Records on disk are damaged, or written by another version."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

from tests.faults.inject import Fault
from tests.faults.scenario import ended_with, fired, holds, resumed, scenario

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.place import Place

WAITS = (Fault("signal", "before conversion logged", 2),)
"""Ends a job of which the store has one conversion and disk has both."""


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def null(path: Path) -> None:
    path.write_text("null", encoding="utf-8")


def listed(path: Path) -> None:
    path.write_text("[]", encoding="utf-8")


def not_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00{" * 50)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def of_a_later_version(path: Path) -> None:
    data = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**data, "form": 999, "a_key_of_tomorrow": {"of": "another form"}}), encoding="utf-8")


def lacking(path: Path) -> None:
    data = json.loads(path.read_text(encoding="utf-8"))
    del data["started_at"]
    path.write_text(json.dumps(data), encoding="utf-8")


DAMAGES: dict[str, tuple[Callable[[Path], None]]] = {
    "cut in half": (cut,),
    "null": (null,),
    "a list": (listed,),
    "not text": (not_text,),
    "empty": (emptied,),
    "of a later version": (of_a_later_version,),
    "without a key": (lacking,),
}


@scenario(
    fault="`job.json` of a job that waits is damaged like this; another job waits too",
    expected="sync writes the other job, names the damaged one and does not say that all is written; others resume",
    cases=DAMAGES,
    short=("of a later version",),
)
def a_damaged_job(place: Place, damage: Callable[[Path], None]) -> None:
    fired(ended_with(place.run(faults=WAITS), -signal.SIGKILL))
    (damaged,) = place.jobs
    damage(damaged / "job.json")
    fired(ended_with(place.run("batch_size=2", faults=WAITS), -signal.SIGKILL))
    check_others(place, damaged.name)


@scenario(
    fault="an `outcome.json` of a job that waits is damaged like this; another job waits too",
    expected="as with `job.json`; the damaged file is left as it is",
    cases=DAMAGES,
)
def a_damaged_outcome(place: Place, damage: Callable[[Path], None]) -> None:
    fired(ended_with(place.run(faults=WAITS), -signal.SIGKILL))
    (damaged,) = place.jobs
    damage(damaged / "conversions" / "01-BF16-EAGER" / "outcome.json")
    fired(ended_with(place.run("batch_size=2", faults=WAITS), -signal.SIGKILL))
    check_others(place, damaged.name)


def check_others(place: Place, damaged: str) -> None:
    ended = ended_with(place.sync(), 0, 1)
    assert damaged in ended.out + ended.err, f"{damaged} is not named: {ended}"
    assert ended.code == 1 or "has everything" not in ended.out, ended
    count = holds(place)
    written = [run for run in count.conversions if run.params["batch_size"] == "2" and "latency_ms" in run.metrics]
    assert len(written) == 2, f"the other job was not written: {ended}"
    resumed(place, "batch_size=3")


@scenario(
    fault="the record of a sweep that was killed is damaged like this",
    expected="sync and other sweeps go on; the damaged sweep is named",
    cases={name: DAMAGES[name] for name in ("cut in half", "null", "of a later version")},
)
def a_damaged_sweep(place: Place, damage: Callable[[Path], None]) -> None:
    fault = Fault("signal", "before round", 5)
    fired(ended_with(place.run("-m", "batch_size=1,2", faults=(fault,)), -signal.SIGKILL))
    (record,) = place.home.glob("sweeps/*/sweep.json")
    damage(record)
    ended_with(place.sync(), 0, 1)
    ended_with(place.resume("-m", "batch_size=3,4"), 0)
    count = holds(place)
    done = {run.params["batch_size"] for run in count.conversions if run.status == "FINISHED"}
    assert {"3", "4"} <= done, done


@scenario(
    fault="`samples_ms.json`, the marker `tracked` or the whole `summary/` of a finished job is removed",
    expected="nothing is measured again, and sync writes nothing twice",
    cases={name: (name,) for name in ("samples_ms.json", "tracked", "summary")},
)
def a_file_is_removed(place: Place, name: str) -> None:
    import shutil

    ended_with(place.run(), 0)
    for path in [path for path in place.home.glob("jobs/**/*") if path.name == name]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    ended_with(place.sync(), 0)
    assert len(holds(place).conversions) == 2
    again = ended_with(place.resume(), 0)
    assert "worker ended" not in again.reached, "measured again"
