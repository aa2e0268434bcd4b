"""The machine loses power, or something else spoils files of a job that was killed."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

from tests.faults.inject import Fault
from tests.faults.scenario import ended_with, fired, holds, resumed, scenario, synced
from tests.faults.scenarios.records import WAITS

if TYPE_CHECKING:
    from tests.faults.place import Place

UNDER_WAY = (Fault("signal", "before round", 8),)
"""Ends a job while both conversions are being timed."""


@scenario(
    fault="a job is killed while it measures, and these files have no byte after the restart (a power cut)",
    expected="sync names what it cannot read, or does without; `resume=true` measures what is missing",
    cases={
        name: (name,) for name in ("task.json", "result.json", "rounds.jsonl", "reference.pt", "lock", "worker.log")
    },
)
def files_without_a_byte(place: Place, name: str) -> None:
    fired(ended_with(place.run(faults=UNDER_WAY), -signal.SIGKILL))
    found = [path for path in place.home.glob("jobs/**/*") if path.name == name]
    assert found, name
    for path in found:
        path.write_bytes(b"")
    synced(place)
    resumed(place)


@scenario(
    fault="a job is killed while it measures, and the newest lines of its rounds are damaged like this",
    expected="the whole lines before them are kept, none of a round that was not measured; `resume=true` goes on",
    cases={"cut": (-7, b""), "zeros": (-40, bytes(40)), "a line of another program": (0, b'{"count": 3}\n')},
)
def damaged_rounds(place: Place, cut: int, more: bytes) -> None:
    fired(ended_with(place.run(faults=UNDER_WAY), -signal.SIGKILL))
    found = sorted(place.home.glob("jobs/*/conversions/*/work/rounds.jsonl"))
    assert found
    whole = {}
    for path in found:
        data = path.read_bytes()
        whole[path.parents[1]] = len(data.splitlines()) - bool(cut)
        path.write_bytes((data[:cut] if cut else data) + more)
    synced(place)
    assert not [each.key for each in holds(place).on_disk if each.ok], "cut short, and counted"
    for directory, lines in whole.items():
        kept = json.loads((directory / "outcome.json").read_text(encoding="utf-8"))["measurement"]
        assert len(kept["rounds"]) == lines, f"{directory.name}: {len(kept['rounds'])} rounds of {lines}"
    resumed(place)


@scenario(
    fault="these lie among the directories of the jobs",
    expected="sync and `resume=true` go on; what cannot be read is named",
    cases={name: (name,) for name in ("a file", "an empty directory", "a link to nowhere", "a directory as record")},
)
def strange_things(place: Place, what: str) -> None:
    fired(ended_with(place.run(faults=WAITS), -signal.SIGKILL))
    strange = place.home / "jobs" / "20200101-000000-000000"
    if what == "a file":
        strange.write_text("a note", encoding="utf-8")
    elif what == "a link to nowhere":
        strange.symlink_to(place.root / "nowhere")
    else:
        strange.mkdir()
    if what == "a directory as record":
        (strange / "job.json").mkdir()
    ended = ended_with(place.sync(), 0, 1)
    assert (strange.name in ended.out + ended.err) == (what == "a directory as record"), ended
    assert len([run for run in holds(place).conversions if run.status == "FINISHED"]) == 2
    resumed(place)


@scenario(
    fault="the directory of a job that waits belongs to another user, and cannot be read or written",
    expected="sync names it and writes the other one; `resume=true` of other plans goes on",
    cases={"read": (0o000,), "written": (0o555,)},
)
def a_directory_of_another_user(place: Place, mode: int) -> None:
    from tests.faults.scenarios.homes import NOBODY, give

    fired(ended_with(place.run(faults=WAITS), -signal.SIGKILL))
    (closed,) = place.jobs
    fired(ended_with(place.run("batch_size=2", faults=WAITS), -signal.SIGKILL))
    give(place, NOBODY)
    place.environment = {"FAULTS_USER": NOBODY}
    os.chown(closed, 0, 0)
    closed.chmod(mode)
    ended = ended_with(place.sync(), 1)
    assert closed.name in ended.out + ended.err, ended
    written = [run for run in holds(place).conversions if run.params["batch_size"] == "2" and run.metrics]
    assert len(written) == 2, ended
    ended_with(place.resume("batch_size=3"), 0)
    os.chown(closed, int(NOBODY), int(NOBODY))
    closed.chmod(0o700)
    synced(place)
