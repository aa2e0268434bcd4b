"""A job's conversions: who is measured beside whom, and when each starts and ends."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.support.fake_workers import EAGER, INDUCTOR, SPEC, House, indices, measurement, outcome, status

from almaflow.measure import loop as measuring
from almaflow.records import Status
from almaflow.records.protocol import MINIMUM_ROUNDS

if TYPE_CHECKING:
    import pytest


def test_all_get_ready_in_the_order_of_the_plan_then_take_turns_then_end(house: House) -> None:
    finished, entries = house.run(EAGER, "ONNX_CPU", "JIT_TRACE")
    assert finished
    names = [EAGER, "ONNX_CPU", "JIT_TRACE"]
    assert house.lines("start", "finish", "control") == [
        "control start",
        *(f"start {name}" for name in names),
        *(f"finish {name}" for name in names),
        "control end",
    ]
    assert house.diary.index("start JIT_TRACE") < house.diary.index(f"turn {EAGER} 1")
    assert house.lines("done") == [f"done {name}" for name in names]
    assert status(entries) == dict.fromkeys(names, Status.OK)
    for name, entry in entries.items():
        assert indices(entry) == list(range(MINIMUM_ROUNDS))
        assert outcome(entry).log_path == f"/conversions/{name}/worker.log"
        assert measurement(entry).stable
        first, *others = measurement(entry).rounds
        assert first.state is None
        assert all(each.state and each.state.others_cpus == 0.5 for each in others)
        assert 0 < entry.started_at <= outcome(entry).ended_at


def test_an_outcome_is_given_on_after_its_process_was_tidied_up(house: House) -> None:
    house.run("A")
    assert house.lines("finish", "ended", "done") == ["finish A", "ended A 0", "done A"]


def test_no_more_processes_than_asked_wait_at_once_and_the_anchors_stay_to_the_end(house: House) -> None:
    names = ["A", EAGER, "B", INDUCTOR, "C", "D", "E"]
    _, entries = house.run(*names, spec=replace(SPEC, interleave=4))
    assert house.most_alive == 4
    assert house.lines("start", "finish") == [
        *(f"start {name}" for name in ("A", EAGER, "B", INDUCTOR)),
        *(f"finish {name}" for name in "AB"),
        *(f"start {name}" for name in "CD"),
        *(f"finish {name}" for name in "CD"),
        "start E",
        *(f"finish {name}" for name in (EAGER, INDUCTOR, "E")),
    ]
    for anchor in (EAGER, INDUCTOR):
        for name in "ABCDE":
            assert set(indices(entries[name])) <= set(indices(entries[anchor])), "rounds without the anchor beside it"
    # No two groups share a number, or those that are no neighbours would be compared.
    groups = [set(indices(entries[name])[1:]) for name in "ACE"]
    assert not groups[0] & groups[1]
    assert not groups[1] & groups[2]
    assert status(entries) == dict.fromkeys(names, Status.OK)


def test_more_anchors_than_may_wait_leave_room_for_one_at_a_time(house: House) -> None:
    _, entries = house.run(EAGER, INDUCTOR, "A", "B", spec=replace(SPEC, interleave=2))
    assert house.most_alive == 3
    assert status(entries) == dict.fromkeys((EAGER, INDUCTOR, "A", "B"), Status.OK)
    assert house.diary.index("finish A") < house.diary.index("start B")


def test_without_interleaving_each_is_measured_and_ended_before_the_next_one(house: House) -> None:
    names = [EAGER, "A", INDUCTOR]
    _, entries = house.run(*names, spec=replace(SPEC, interleave=1))
    assert house.most_alive == 1
    assert house.lines("start", "finish", "done") == [
        f"{verb} {name}" for name in names for verb in ("start", "finish", "done")
    ]
    assert status(entries) == dict.fromkeys(names, Status.OK)


def test_little_memory_left_ends_those_that_wait_before_another_one_starts(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "free_memory_mb", lambda: 1000.0 - 200.0 * len(house.alive))
    house.run(EAGER, "A", "B", "C", "D")
    assert house.most_alive == 3  # with three of them, less than half is left
    assert house.lines("start", "finish")[:5] == [f"start {EAGER}", "start A", "start B", "finish A", "finish B"]


def test_processes_of_the_same_conversion_are_one_outcome(house: House) -> None:
    _, entries = house.run(EAGER, "A", spec=replace(SPEC, replicates=3))
    assert house.lines("start") == [f"start {EAGER}", "start A"] * 3
    assert house.lines("ended") == [f"ended {name} {replicate}" for replicate in range(3) for name in (EAGER, "A")]
    assert house.lines("done") == [f"done {EAGER}", "done A"]
    assert house.lines("control") == ["control start", "control end"]
    for entry in entries.values():
        found = measurement(entry)
        count = 2 * MINIMUM_ROUNDS
        assert found.samples_ms == (1.0,) * count + (2.0,) * count + (3.0,) * count
        assert [each.replicate for each in found.rounds] == [0] * 9 + [1] * 9 + [2] * 9
        assert found.convert_s == 10.0  # later ones may use what the first has compiled
        assert found.total_s == 3 * 8.0
    assert [indices(entries["A"], replicate)[1] for replicate in range(3)] == [1, 9, 17]


def test_nothing_planned_is_nothing_measured(house: House) -> None:
    assert house.run() == (True, {})
    assert house.diary == ["control start", "control end"]
