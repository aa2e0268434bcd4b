"""A job's conversions: what an interrupt keeps, by what was under way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.fake_workers import EAGER, SPEC, Rig, indices, measurement, outcome, status

from almaflow.records import Status, WorkerTask
from almaflow.records.protocol import MINIMUM_ROUNDS


def test_an_interrupt_while_one_gets_ready_keeps_those_that_are(rig: Rig) -> None:
    rig.interrupt_at = "start B"
    finished, entries = rig.run(EAGER, "A", "B", "C")
    assert not finished
    assert status(entries) == {EAGER: Status.OK, "A": Status.OK, "B": Status.FAILED, "C": None}
    assert indices(entries["A"]) == [0]
    under_way = outcome(entries["B"])
    assert under_way.interrupted
    assert under_way.failure is None
    assert under_way.measurement is None  # it has not been found right
    assert not outcome(entries["A"]).interrupted
    assert not measurement(entries["A"]).stable
    assert rig.lines("probe") == ["probe start"]
    assert all(rig.logs(name) == ["worker.log"] for name in (EAGER, "A", "B"))


def test_an_interrupt_while_turns_are_taken_keeps_all_rounds_so_far(rig: Rig) -> None:
    rig.interrupt_at = "turn A 5"
    finished, entries = rig.run(EAGER, "A", "B")
    assert not finished
    assert status(entries) == dict.fromkeys((EAGER, "A", "B"), Status.OK)
    assert [len(indices(entry)) for entry in entries.values()] == [6, 5, 5]


@pytest.mark.parametrize("guilty", ["A", "B", "C"])
def test_an_interrupt_while_processes_end_loses_no_outcome(rig: Rig, guilty: str) -> None:
    rig.interrupt_at = f"finish {guilty}"
    finished, entries = rig.run("A", "B", "C")
    assert not finished
    assert status(entries) == dict.fromkeys("ABC", Status.OK)
    assert all(len(indices(entry)) == MINIMUM_ROUNDS for entry in entries.values())


def test_an_interrupt_in_a_later_process_keeps_the_earlier_ones(rig: Rig) -> None:
    def interrupt_second(task: WorkerTask) -> None:
        rig.interrupt_at = "start B" if task.replicate == 1 else None

    rig.before_start = interrupt_second
    finished, entries = rig.run("A", "B", "C", spec=replace(SPEC, replicates=2))
    assert not finished
    assert status(entries) == dict.fromkeys("ABC", Status.OK)
    assert [len(indices(entry, 0)) for entry in entries.values()] == [MINIMUM_ROUNDS] * 3
    assert indices(entries["A"], 1) == [0]
    assert indices(entries["B"], 1) == indices(entries["C"], 1) == []
    assert not any(entry.outcome.interrupted for entry in entries.values() if entry.outcome)


@pytest.mark.parametrize(("line", "known"), [("probe start", None), ("probe end", Status.OK)])
def test_an_interrupt_of_the_probe_leaves_what_is_known_by_then(rig: Rig, line: str, known: Status | None) -> None:
    rig.interrupt_at = line
    finished, entries = rig.run("A")
    assert not finished
    assert status(entries) == {"A": known}
