"""A job's conversions: what an interrupt keeps, by what was under way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.example_jobs import measured, planned
from tests.support.fake_workers import EAGER, SPEC, Rig, indices, measurement, outcome, status

from almaflow.measure.conversion_run import ConversionRun
from almaflow.records import Status, WorkerTask
from almaflow.records.protocol import MINIMUM_ROUNDS


def test_an_interrupt_while_one_gets_ready_keeps_those_that_are(rig: Rig) -> None:
    rig.interrupt_at = "start B"
    finished, entries = rig.run(EAGER, "A", "B", "C")
    assert not finished
    assert interrupted(entries) == {EAGER: True, "A": True, "B": True, "C": None}
    assert indices(entries["A"]) == [0]
    assert not measurement(entries["A"]).stable
    under_way = outcome(entries["B"])
    assert under_way.failure is None
    assert under_way.measurement is None  # it has not been found right
    assert rig.lines("probe") == ["probe start"]
    assert all(rig.logs(name) == ["worker.log"] for name in (EAGER, "A", "B"))


def test_an_interrupt_while_turns_are_taken_keeps_all_rounds_so_far(rig: Rig) -> None:
    rig.interrupt_at = "turn A 5"
    finished, entries = rig.run(EAGER, "A", "B")
    assert not finished
    assert interrupted(entries) == dict.fromkeys((EAGER, "A", "B"), True)
    assert status(entries) == dict.fromkeys((EAGER, "A", "B"), Status.FAILED)
    assert [len(indices(entry)) for entry in entries.values()] == [6, 5, 5]


@pytest.mark.parametrize("guilty", ["A", "B", "C"])
def test_an_interrupt_while_processes_end_loses_no_outcome(rig: Rig, guilty: str) -> None:
    rig.interrupt_at = f"finish {guilty}"
    finished, entries = rig.run("A", "B", "C")
    assert not finished
    assert status(entries) == dict.fromkeys("ABC", Status.OK)
    assert interrupted(entries) == dict.fromkeys("ABC", False)
    assert all(len(indices(entry)) == MINIMUM_ROUNDS for entry in entries.values())


def test_an_interrupt_in_a_later_process_keeps_the_earlier_ones(rig: Rig) -> None:
    def interrupt_second(task: WorkerTask) -> None:
        rig.interrupt_at = "start B" if task.replicate == 1 else None

    rig.before_start = interrupt_second
    finished, entries = rig.run("A", "B", "C", spec=replace(SPEC, replicates=2))
    assert not finished
    assert interrupted(entries) == dict.fromkeys("ABC", True)
    assert [len(indices(entry, 0)) for entry in entries.values()] == [MINIMUM_ROUNDS] * 3
    assert indices(entries["A"], 1) == [0]
    assert indices(entries["B"], 1) == indices(entries["C"], 1) == []


def interrupted(entries: dict[str, ConversionRun]) -> dict[str, bool | None]:
    return {name: entry.outcome.interrupted if entry.outcome else None for name, entry in entries.items()}


def test_an_interrupt_leaves_one_that_needed_no_more_as_it_is(rig: Rig) -> None:
    """Eager only goes on for the others' sake; it still tells what really ran."""
    rig.interrupt_at = "turn B 13"
    _, entries = rig.run(EAGER, "A", "B", spec=replace(SPEC, interleave=2))
    assert interrupted(entries) == {EAGER: False, "A": False, "B": True}
    assert status(entries) == {EAGER: Status.OK, "A": Status.OK, "B": Status.FAILED}
    assert measurement(entries[EAGER]).stable
    assert rig.lines("finish") == ["finish A", f"finish {EAGER}"]


def test_one_whose_time_was_spent_when_the_interrupt_came_is_measured(rig: Rig) -> None:
    rig.interrupt_at = "turn B 14"
    _, entries = rig.run(EAGER, "A", "B", spec=replace(SPEC, interleave=2, min_samples=1000, max_time_s=0.09))
    assert interrupted(entries) == {EAGER: False, "A": False, "B": True}
    assert not measurement(entries[EAGER]).stable


def test_a_second_interrupt_does_not_wait_for_those_that_look_at_what_ran(rig: Rig) -> None:
    rig.interrupt_at, rig.again_at = "turn B 13", f"finish {EAGER}"
    finished, entries = rig.run(EAGER, "A", "B", spec=replace(SPEC, interleave=2))
    assert not finished
    assert interrupted(entries) == {EAGER: True, "A": False, "B": True}
    assert len(indices(entries[EAGER])) > MINIMUM_ROUNDS  # what it measured is kept all the same


def test_with_further_processes_to_come_nothing_is_measured_yet(rig: Rig) -> None:
    """Each has all rounds of its first process when the interrupt comes."""
    rig.interrupt_at = "finish B"
    _, entries = rig.run("A", "B", spec=replace(SPEC, replicates=2))
    assert interrupted(entries) == {"A": True, "B": True}
    assert [len(indices(entry, 0)) for entry in entries.values()] == [MINIMUM_ROUNDS] * 2


def test_what_each_process_measured_is_given_when_it_has_ended(rig: Rig) -> None:
    _, entries = rig.run("A", "B", spec=replace(SPEC, replicates=3))
    assert rig.lines("partly", "done") == [*["partly A", "partly B"] * 2, "done A", "done B"]
    assert interrupted(entries) == {"A": False, "B": False}


def test_what_is_given_before_the_last_process_is_no_result(rig: Rig) -> None:
    run = ConversionRun(planned("A"), rig.root, measurements=[measured(1.0)])
    assert (run.so_far().status, run.so_far().interrupted) == (Status.FAILED, True)


@pytest.mark.parametrize(("line", "known"), [("probe start", None), ("probe end", Status.OK)])
def test_an_interrupt_of_the_probe_leaves_what_is_known_by_then(rig: Rig, line: str, known: Status | None) -> None:
    rig.interrupt_at = line
    finished, entries = rig.run("A")
    assert not finished
    assert status(entries) == {"A": known}
