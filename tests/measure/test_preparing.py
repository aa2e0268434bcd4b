"""Conversions that are prepared side by side: who beside whom, and what each costs the others."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.fake_workers import (
    CRASHED,
    EAGER,
    INDUCTOR,
    LIED,
    NO_MEMORY,
    RAISED,
    SPEC,
    Rig,
    Script,
    indices,
    measurement,
    outcome,
    status,
)

from almaflow.measure.preparing import compile_jobs
from almaflow.records import Failure, FailureKind, Status
from almaflow.records.protocol import MINIMUM_ROUNDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.records import WorkerTask

TWO = replace(SPEC, prepare_jobs=2)
THREE = replace(SPEC, prepare_jobs=3)


def test_the_next_one_starts_as_soon_as_one_is_prepared(rig: Rig) -> None:
    rig.scripts = {INDUCTOR: Script(takes_s=22.0)}
    finished, entries = rig.run(EAGER, INDUCTOR, "ONNX_CPU", "COMPILE_OPENVINO", spec=TWO)
    assert finished
    names = [EAGER, INDUCTOR, "ONNX_CPU", "COMPILE_OPENVINO"]
    assert rig.lines("start", "ready") == [
        f"start {EAGER}",
        f"start {INDUCTOR}",
        f"ready {EAGER}",
        "start ONNX_CPU",
        "ready ONNX_CPU",
        "start COMPILE_OPENVINO",
        "ready COMPILE_OPENVINO",
        f"ready {INDUCTOR}",
    ]
    # Whoever was prepared first, the plan says who is measured when.
    assert rig.lines("warm", "finish", "done") == [
        f"{verb} {name}"
        for verbs in (("warm",), ("finish",), ("done",))
        for name in names
        for verb in verbs
    ]  # fmt: skip
    assert [line for line in rig.lines("turn") if line.endswith(" 1")] == [f"turn {name} 1" for name in names]
    assert status(entries) == dict.fromkeys(names, Status.OK)
    assert {name: measurement(entry).prepared_beside for name, entry in entries.items()} == dict.fromkeys(names, 1.0)


def test_nothing_is_prepared_while_one_warms_up_or_takes_rounds(rig: Rig) -> None:
    rig.run(*"ABCDEFG", spec=replace(THREE, interleave=4))
    at_work: set[str] = set()
    for line in rig.diary:
        verb, name, *_ = line.split()
        if verb == "start":
            at_work.add(name)
        elif verb in {"ready", "ended"}:
            at_work.discard(name)
        elif verb in {"warm", "turn", "probe"}:
            assert not at_work, line
    assert rig.most_prepared == 3
    assert rig.most_alive == 4


@pytest.mark.parametrize(
    ("jobs", "interleave", "conversions", "cores", "each"),
    [
        (1, 8, 70, 16, None),  # as inductor does by itself
        (2, 8, 70, 2, 2),
        (16, 8, 70, 16, 2),
        (16, 8, 70, 32, 4),
        (16, 8, 2, 16, 8),
        (16, 8, 1, 16, None),
        (16, 1, 70, 16, None),
        (3, 8, 0, 16, None),
    ],
)
def test_the_cores_are_shared_by_the_compilers_of_those_that_are_prepared_at_once(
    jobs: int, interleave: int, conversions: int, cores: int, each: int | None
) -> None:
    assert compile_jobs(replace(SPEC, prepare_jobs=jobs, interleave=interleave), conversions, cores) == each


def test_one_at_a_time_each_warms_up_before_the_next_one_starts(rig: Rig) -> None:
    rig.run(EAGER, "A", "B", spec=replace(SPEC, prepare_jobs=1))
    assert rig.lines("start", "ready", "warm") == [
        f"{verb} {name}" for name in (EAGER, "A", "B") for verb in ("start", "ready", "warm")
    ]
    assert rig.most_prepared == 1


@pytest.mark.parametrize(
    "name", ["COMPILE_INDUCTOR_MAX_AUTOTUNE", "BF16+COMPILE_INDUCTOR_MAX_AUTOTUNE", "TORCHAO_AUTOQUANT"]
)
def test_what_picks_its_kernels_by_timing_is_prepared_by_itself(rig: Rig, name: str) -> None:
    _, entries = rig.run("A", name, "B", "C", spec=THREE)
    assert measurement(entries[name]).prepared_beside == 0.0
    assert rig.lines("start", "ready")[:4] == ["start A", "ready A", f"start {name}", f"ready {name}"]
    assert rig.most_prepared == 2


def test_no_more_are_prepared_than_may_wait(rig: Rig) -> None:
    rig.run("A", "B", "C", spec=replace(THREE, interleave=1))
    assert rig.most_prepared == 1
    assert rig.lines("start", "finish") == [f"{verb} {name}" for name in "ABC" for verb in ("start", "finish")]
    rig.diary.clear()
    rig.run(EAGER, INDUCTOR, "D", "E", spec=replace(THREE, interleave=2))
    assert rig.lines("start")[:2] == [f"start {EAGER}", f"start {INDUCTOR}"]
    assert rig.diary.index("finish D") < rig.diary.index("start E")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (Script(starts=[RAISED]), RAISED),
        (Script(starts=[CRASHED], takes_s=0.1), CRASHED),
        (Script(starts=[Failure(FailureKind.TIMEOUT, "not done", "convert")], takes_s=600.0), None),
        (Script(warms=[LIED]), LIED),
        (Script(dies_in=(0, 2)), CRASHED),
    ],
    ids=["raised", "crashed", "hung", "wrong", "died"],
)
def test_a_failure_costs_its_own_conversion_only(rig: Rig, script: Script, expected: Failure | None) -> None:
    rig.scripts["BAD"] = script
    finished, entries = rig.run(EAGER, "BAD", "A", "B", spec=THREE)
    assert finished
    assert status(entries) == {EAGER: Status.OK, "BAD": Status.FAILED, "A": Status.OK, "B": Status.OK}
    failure = outcome(entries["BAD"]).failure
    assert failure is not None
    assert expected in {None, failure}
    assert all(len(indices(entries[name])) == MINIMUM_ROUNDS for name in (EAGER, "A", "B"))


def test_out_of_memory_while_others_are_prepared_is_prepared_again_by_itself_and_beside_those_that_wait(
    rig: Rig,
) -> None:
    rig.scripts = {"BIG": Script(starts=[NO_MEMORY], takes_s=0.5)}
    _, entries = rig.run(EAGER, "BIG", "A", "B", spec=THREE)
    assert status(entries) == dict.fromkeys((EAGER, "BIG", "A", "B"), Status.OK)
    assert "BIG: out of memory beside others, to be prepared again by itself" in rig.said
    assert rig.lines("start", "ready", "ended") == [
        *(f"start {name}" for name in (EAGER, "BIG", "A")),
        "ended BIG",
        f"ready {EAGER}",
        "ready A",
        "start BIG",
        "ready BIG",
        "start B",
        "ready B",
    ]
    # Eager goes on beside all of them.
    assert set(indices(entries["B"])) <= set(indices(entries[EAGER]))
    assert measurement(entries["BIG"]).prepared_beside == 0.0


def test_out_of_memory_by_itself_as_well_is_tried_alone_and_then_a_failure(rig: Rig) -> None:
    rig.scripts = {"BIG": Script(starts=[NO_MEMORY] * 3)}
    _, entries = rig.run("A", "BIG", "B", spec=TWO)
    assert outcome(entries["BIG"]).failure == NO_MEMORY
    assert rig.lines("start").count("start BIG") == 3
    assert status(entries) == {"A": Status.OK, "BIG": Status.FAILED, "B": Status.OK}


def test_out_of_memory_while_it_warms_up_beside_others_is_tried_alone_once(rig: Rig) -> None:
    rig.scripts = {"BIG": Script(warms=[NO_MEMORY] * 2)}
    _, entries = rig.run("A", "BIG", "B", spec=THREE)
    assert outcome(entries["BIG"]).failure == NO_MEMORY
    assert rig.lines("start").count("start BIG") == 2
    assert rig.diary.index("finish B") < len(rig.diary) - rig.diary[::-1].index("start BIG") - 1
    assert status(entries) == {"A": Status.OK, "BIG": Status.FAILED, "B": Status.OK}


def test_where_all_together_use_the_memory_the_largest_is_ended_and_prepared_again_by_itself(rig: Rig) -> None:
    """Each of them may use 900 MB of the 1000 MB that are free."""
    rig.scripts = {"A": Script(takes_s=9.0, megabytes=300.0), "BIG": Script(takes_s=9.0)}

    def grow() -> None:
        for worker in rig.alive:
            if worker.name == "BIG":
                worker.memory_mb = 650.0

    rig.looks = grow
    rig.before_start = shrink_when_prepared(rig)
    _, entries = rig.run("A", "BIG", "B", spec=replace(THREE, memory_limit_mb=800.0))
    assert status(entries) == dict.fromkeys(("A", "BIG", "B"), Status.OK)
    assert rig.lines("start").count("start BIG") == 2
    assert rig.lines("start").count("start A") == 1
    assert measurement(entries["BIG"]).prepared_beside == 0.0


def shrink_when_prepared(rig: Rig) -> Callable[[WorkerTask], None]:
    """What was needed to convert is free once a conversion is prepared."""

    def shrink(_task: WorkerTask) -> None:
        for worker in rig.alive:
            worker.memory_mb *= not worker.prepared

    return shrink


def test_a_limit_of_the_users_holds_beside_others_too(rig: Rig) -> None:
    rig.scripts = {"BIG": Script(starts=[NO_MEMORY])}
    _, entries = rig.run("A", "BIG", spec=replace(TWO, memory_limit_mb=9.0))
    assert outcome(entries["BIG"]).failure == NO_MEMORY
    assert rig.lines("start") == ["start A", "start BIG"]


def test_nothing_more_is_started_when_memory_is_short(rig: Rig) -> None:
    rig.memory_of_each_mb = 300.0
    rig.run("A", "B", "C", spec=THREE)
    assert rig.most_alive == 2  # with both of them less than half is left
    assert rig.lines("start", "finish")[:4] == ["start A", "start B", "finish A", "finish B"]


def test_fail_fast_starts_nothing_more_and_measures_those_that_were_begun(rig: Rig) -> None:
    rig.scripts = {"BAD": Script(starts=[RAISED], takes_s=0.5), "A": Script(takes_s=5.0)}
    finished, entries = rig.run(EAGER, "BAD", "A", "B", "C", spec=THREE, fail_fast=True)
    assert finished
    assert status(entries) == {EAGER: Status.OK, "BAD": Status.FAILED, "A": Status.OK, "B": None, "C": None}
    assert rig.said == "fail_fast: stopped after BAD failed"


def test_later_processes_are_prepared_side_by_side_too(rig: Rig) -> None:
    _, entries = rig.run(EAGER, "A", "B", spec=replace(TWO, replicates=2))
    assert status(entries) == dict.fromkeys((EAGER, "A", "B"), Status.OK)
    assert rig.lines("start")[3:5] == [f"start {EAGER}", "start A"]
    for entry in entries.values():
        assert [len(indices(entry, replicate)) for replicate in range(2)] == [MINIMUM_ROUNDS] * 2
    assert all(rig.logs(name) == ["worker-1.log", "worker.log"] for name in (EAGER, "A", "B"))


@pytest.mark.parametrize(
    ("line", "begun"),
    [
        ("start B", {"A": True, "B": True, "C": None}),
        ("ready A", {"A": True, "B": True, "C": None}),
        ("ready B", {"A": True, "B": True, "C": True}),
        ("warm B", dict.fromkeys("ABC", True)),
        ("turn C 5", dict.fromkeys("ABC", True)),
        ("finish B", dict.fromkeys("ABC", False)),
    ],
)
@pytest.mark.parametrize("again", [False, True])
def test_an_interrupt_ends_all_that_are_at_work(
    rig: Rig, line: str, begun: dict[str, bool | None], again: bool
) -> None:
    rig.scripts = {"B": Script(takes_s=1.5)}
    rig.interrupt_at, rig.again_at = line, "finish A" if again and line != "finish B" else None
    finished, entries = rig.run("A", "B", "C", spec=TWO)
    assert not finished
    interrupted = {name: entry.outcome.interrupted if entry.outcome else None for name, entry in entries.items()}
    assert interrupted == begun
    rounds = sum(line.split()[0] in {"warm", "turn"} for line in rig.diary)
    kept = [entry.outcome.measurement for entry in entries.values() if entry.outcome]
    assert sum(len(each.rounds) for each in kept if each) >= rounds - 1  # all but the one under way


def out_of_memory_beside_others(rig: Rig, *, ended_by_us: bool) -> None:
    """Let BIG lack memory while A is prepared beside it."""
    rig.scripts = {"A": Script(takes_s=9.0, megabytes=300.0), "B": Script(takes_s=5.0), "BIG": Script(takes_s=20.0)}
    if not ended_by_us:
        rig.scripts["BIG"] = Script(starts=[NO_MEMORY], takes_s=0.5)

    def grow() -> None:
        for worker in rig.alive:
            worker.memory_mb = 650.0 if ended_by_us and worker.name == "BIG" else worker.memory_mb

    rig.looks = grow


@pytest.mark.parametrize(("ended_by_us", "limit_mb"), [(True, None), (True, 800.0), (False, None)])
def test_an_interrupt_comes_before_one_that_lacked_memory_beside_others_is_put_back(
    rig: Rig, ended_by_us: bool, limit_mb: float | None
) -> None:
    out_of_memory_beside_others(rig, ended_by_us=ended_by_us)
    rig.interrupt_at = "ended BIG"
    finished, entries = rig.run("A", "B", "BIG", spec=replace(THREE, memory_limit_mb=limit_mb))
    assert not finished
    assert outcome(entries["BIG"]).interrupted
    assert outcome(entries["BIG"]).failure is None


def test_beyond_the_users_limit_is_a_failure_when_the_interrupt_comes(rig: Rig) -> None:
    out_of_memory_beside_others(rig, ended_by_us=False)
    rig.interrupt_at = "ended BIG"
    _, entries = rig.run("A", "BIG", spec=replace(TWO, memory_limit_mb=9.0))
    assert outcome(entries["BIG"]).failure == NO_MEMORY


def test_one_that_is_to_be_prepared_again_when_the_interrupt_comes_has_no_verdict(rig: Rig) -> None:
    rig.scripts = {"BIG": Script(starts=[NO_MEMORY], takes_s=0.5)}
    rig.interrupt_at = f"ready {EAGER}"
    _, entries = rig.run(EAGER, "BIG", spec=TWO)
    assert entries["BIG"].outcome is None
    assert outcome(entries[EAGER]).interrupted


scripts = st.builds(
    Script,
    starts=st.lists(st.sampled_from([None, None, RAISED, NO_MEMORY, CRASHED, "wrong input"]), max_size=2),
    warms=st.lists(st.sampled_from([None, None, LIED, NO_MEMORY]), max_size=2),
    takes_s=st.floats(0.01, 100.0),
    megabytes=st.floats(0.0, 700.0),
    dies_in=st.none() | st.tuples(st.integers(0, 1), st.integers(1, 12)),
)
names = st.lists(st.sampled_from([EAGER, INDUCTOR, *"ABCDE"]), unique=True, min_size=1)


@given(
    names.flatmap(lambda drawn: st.fixed_dictionaries(dict.fromkeys(drawn, scripts))),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 2),
    st.booleans(),
    st.none() | st.integers(0, 60),
)
@settings(max_examples=60, deadline=None)
def test_whatever_goes_wrong_nothing_is_lost_and_nothing_runs_beside_timed_calls(
    drawn: dict[str, Script], jobs: int, interleave: int, replicates: int, fail_fast: bool, interrupt: int | None
) -> None:
    """The rig asserts that each outcome is given once, that no process is left, and that each was tidied up after."""
    spec = replace(SPEC, prepare_jobs=jobs, interleave=interleave, replicates=replicates)
    with tempfile.TemporaryDirectory() as directory:
        rig = Rig(Path(directory), scripts=drawn, interrupt_after=interrupt)
        finished, entries = rig.run(*drawn, spec=spec, fail_fast=fail_fast)
    assert rig.most_prepared <= min(jobs, max(interleave, 1))
    assert rig.most_alive <= max(interleave, 3)  # both anchors and one more
    at_work: set[str] = set()
    for line in rig.diary:
        verb, name, *_ = line.split()
        if verb == "start":
            assert name not in at_work
            at_work.add(name)
        elif verb in {"ready", "ended"}:
            at_work.discard(name)
        elif verb in {"warm", "turn"}:
            assert not at_work, f"{line} beside {at_work}"
    if finished and not fail_fast:
        assert all(entry.outcome and not entry.outcome.interrupted for entry in entries.values())
    for entry in entries.values():
        if entry.outcome and entry.outcome.status is Status.OK:
            assert all(len(indices(entry, replicate)) >= MINIMUM_ROUNDS for replicate in range(replicates))
