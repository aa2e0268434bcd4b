"""A job's conversions: what a failure costs, when it is tried again, and what it stops."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.fake_workers import (
    CRASHED,
    EAGER,
    LIED,
    NO_MEMORY,
    RAISED,
    SPEC,
    Rig,
    Script,
    indices,
    outcome,
    status,
)

from almaflow.errors import AlmaflowError
from almaflow.records import Failure, FailureKind, Status, WorkerTask
from almaflow.records.protocol import MINIMUM_ROUNDS


@pytest.mark.parametrize(
    ("script", "expected", "rounds"),
    [
        (Script(starts=[RAISED]), RAISED, None),
        (Script(warms=[LIED]), LIED, 0),
        (Script(starts=["the model is wrong"]), Failure(FailureKind.ERROR, "the model is wrong", "measure"), None),
        (Script(dies_in=(0, 4)), CRASHED, 4),
        (Script(dies_in=(0, 1)), CRASHED, 1),
    ],
    ids=["raised", "wrong", "bad input", "died late", "died early"],
)
def test_a_failure_costs_its_own_conversion_only(
    rig: Rig, script: Script, expected: Failure, rounds: int | None
) -> None:
    rig.scripts["BAD"] = script
    finished, entries = rig.run(EAGER, "BAD", "A")
    assert finished
    assert status(entries) == {EAGER: Status.OK, "BAD": Status.FAILED, "A": Status.OK}
    bad = outcome(entries["BAD"])
    assert bad.failure == expected
    assert not bad.interrupted
    assert (None if bad.measurement is None else len(bad.measurement.rounds)) == rounds
    assert indices(entries["A"])[1:] == indices(entries[EAGER])[1:MINIMUM_ROUNDS]


def test_an_anchor_that_fails_costs_itself_only(rig: Rig) -> None:
    rig.scripts[EAGER] = Script(dies_in=(0, 2))
    _, entries = rig.run(EAGER, "A", "B", spec=replace(SPEC, interleave=2))
    assert status(entries) == {EAGER: Status.FAILED, "A": Status.OK, "B": Status.OK}
    assert outcome(entries[EAGER]).failure == CRASHED


def test_a_failure_in_a_later_process_is_one_and_keeps_what_the_first_measured(rig: Rig) -> None:
    rig.scripts["BAD"] = Script(dies_in=(1, 3))
    _, entries = rig.run("BAD", "A", spec=replace(SPEC, replicates=3))
    assert status(entries) == {"BAD": Status.FAILED, "A": Status.OK}
    assert outcome(entries["BAD"]).failure == CRASHED
    assert len(indices(entries["BAD"], 0)) == MINIMUM_ROUNDS
    assert len(indices(entries["BAD"], 1)) == 3
    assert rig.lines("start").count("start BAD") == 2  # no third one


def test_out_of_memory_beside_others_is_tried_again_alone(rig: Rig) -> None:
    rig.scripts["BIG"] = Script(starts=[NO_MEMORY])
    _, entries = rig.run(EAGER, "A", "BIG", "B")
    assert status(entries) == dict.fromkeys((EAGER, "A", "BIG", "B"), Status.OK)
    assert rig.lines("start", "finish")[:6] == [
        f"start {EAGER}",
        "start A",
        "start BIG",
        "start B",
        f"finish {EAGER}",
        "finish A",
    ]
    assert rig.lines("start", "finish")[6:] == ["finish B", "start BIG", "finish BIG"]
    assert "BIG: out of memory beside others, tried again alone" in rig.said
    first, second = (each for each in rig.begun if each.name == "BIG")
    assert first.closed
    assert second.closed


def test_the_process_that_was_out_of_memory_is_ended_before_it_is_tried_again(rig: Rig) -> None:
    rig.scripts["BIG"] = Script(starts=[NO_MEMORY])
    alive_then: list[list[str]] = []
    rig.before_start = lambda _: alive_then.append([each.name for each in rig.alive])
    rig.run("A", "BIG")
    assert alive_then == [[], ["A"], []]


def test_out_of_memory_is_final_where_it_was_alone_or_the_limit_is_the_users(rig: Rig) -> None:
    rig.scripts = {"BIG": Script(starts=[NO_MEMORY])}
    _, entries = rig.run("BIG", "A")
    assert outcome(entries["BIG"]).failure == NO_MEMORY
    rig.scripts = {"BIG": Script(starts=[NO_MEMORY])}
    rig.diary.clear()
    _, entries = rig.run("A", "BIG", spec=replace(SPEC, memory_limit_mb=9.0))
    assert outcome(entries["BIG"]).failure == NO_MEMORY
    assert rig.lines("start") == ["start A", "start BIG"]


def test_out_of_memory_alone_as_well_is_a_failure(rig: Rig) -> None:
    rig.scripts["BIG"] = Script(starts=[NO_MEMORY, NO_MEMORY])
    _, entries = rig.run("A", "BIG")
    assert outcome(entries["BIG"]).failure == NO_MEMORY
    assert rig.lines("start") == ["start A", "start BIG", "start BIG"]


def test_fail_fast_starts_nothing_after_a_failure_and_measures_those_that_are_ready(rig: Rig) -> None:
    rig.scripts["BAD"] = Script(starts=[RAISED])
    finished, entries = rig.run(EAGER, "A", "BAD", "B", fail_fast=True)
    assert finished
    assert status(entries) == {EAGER: Status.OK, "A": Status.OK, "BAD": Status.FAILED, "B": None}
    assert len(indices(entries["A"])) == MINIMUM_ROUNDS
    assert "fail_fast: stopped after BAD failed" in rig.said


def test_fail_fast_heeds_a_failure_while_turns_are_taken(rig: Rig) -> None:
    rig.scripts["BAD"] = Script(dies_in=(0, 2))
    _, entries = rig.run("A", "BAD", "B", "C", spec=replace(SPEC, interleave=2), fail_fast=True)
    assert status(entries) == {"A": Status.OK, "BAD": Status.FAILED, "B": None, "C": None}
    assert "fail_fast: stopped after BAD failed" in rig.said


def test_fail_fast_starts_no_further_processes_of_the_others_and_keeps_what_they_measured(rig: Rig) -> None:
    rig.scripts["BAD"] = Script(starts=[RAISED])
    _, entries = rig.run("A", "BAD", "B", spec=replace(SPEC, replicates=3), fail_fast=True)
    assert rig.lines("start") == ["start A", "start BAD"]
    assert status(entries) == {"A": Status.FAILED, "BAD": Status.FAILED, "B": None}
    assert outcome(entries["A"]).interrupted  # of three processes
    assert not outcome(entries["BAD"]).interrupted
    assert len(indices(entries["A"])) == MINIMUM_ROUNDS


def test_fail_fast_heeds_a_failure_in_the_last_turns_before_further_processes(rig: Rig) -> None:
    rig.scripts["BAD"] = Script(dies_in=(0, 2))
    _, entries = rig.run("A", "BAD", spec=replace(SPEC, replicates=2), fail_fast=True)
    assert rig.lines("start") == ["start A", "start BAD"]
    assert outcome(entries["A"]).interrupted
    assert outcome(entries["BAD"]).failure == CRASHED


def test_without_fail_fast_the_first_failure_stops_nothing(rig: Rig) -> None:
    rig.scripts["BAD"] = Script(starts=[RAISED])
    _, entries = rig.run("BAD", "A")
    assert status(entries) == {"BAD": Status.FAILED, "A": Status.OK}
    assert "fail_fast" not in rig.said


def test_a_server_that_cannot_start_workers_ends_the_job_and_keeps_what_was_measured(rig: Rig) -> None:
    def break_at_b(task: WorkerTask) -> None:
        if task.conversion and task.conversion.name == "B":
            message = "the process that starts the workers has gone"
            raise AlmaflowError(message)

    rig.before_start = break_at_b
    with pytest.raises(AlmaflowError, match="has gone"):
        rig.run(EAGER, "A", "B", "C")
    assert not rig.alive
    assert rig.lines("done") == [f"done {EAGER}", "done A"]
    assert rig.logs(EAGER) == rig.logs("A") == ["worker.log"]


@pytest.mark.parametrize("error", [AlmaflowError("the disk is full"), KeyboardInterrupt()])
def test_outcomes_that_cannot_be_kept_end_the_job_and_all_that_was_measured_is_given(
    rig: Rig, error: BaseException
) -> None:
    rig.scripts["BAD"] = Script(starts=[RAISED])
    rig.keep_fails = error
    names = [EAGER, "A", "BAD", "B"]
    if isinstance(error, KeyboardInterrupt):
        finished, _ = rig.run(*names)
        assert not finished
    else:
        with pytest.raises(AlmaflowError, match="the disk is full"):
            rig.run(*names)
    assert rig.lines("done") == ["done BAD", f"done {EAGER}", "done A"]
