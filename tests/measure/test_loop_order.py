"""A job's conversions: who is measured beside whom, and when each starts and ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.fake_workers import EAGER, INDUCTOR, SPEC, Rig, indices, measurement, outcome, status

from almaflow.records import EvaluateSpec, Status
from almaflow.records.protocol import MINIMUM_ROUNDS


def test_all_get_ready_in_the_order_of_the_plan_then_take_turns_then_end(rig: Rig) -> None:
    finished, entries = rig.run(EAGER, "ONNX_CPU", "JIT_TRACE")
    assert finished
    names = [EAGER, "ONNX_CPU", "JIT_TRACE"]
    assert rig.lines("start", "finish", "probe") == [
        "probe start",
        *(f"start {name}" for name in names),
        *(f"finish {name}" for name in names),
        "probe end",
    ]
    assert rig.diary.index("start JIT_TRACE") < rig.diary.index(f"turn {EAGER} 1")
    assert rig.lines("done") == [f"done {name}" for name in names]
    assert status(entries) == dict.fromkeys(names, Status.OK)
    for name, entry in entries.items():
        assert indices(entry) == list(range(MINIMUM_ROUNDS))
        assert outcome(entry).log_path == str(rig.root / name / "worker.log")
        assert measurement(entry).stable
        first, *others = measurement(entry).rounds
        assert first.state is None
        assert all(each.state and each.state.others_cpus == 0.5 for each in others)
        assert 0 < entry.started_at <= outcome(entry).ended_at


def test_an_outcome_is_given_on_after_its_process_was_tidied_up(rig: Rig) -> None:
    rig.run("A")
    assert rig.lines("finish", "done") == ["finish A", "done A"]
    assert rig.logs("A") == ["worker.log"]


def test_no_more_processes_than_asked_wait_at_once_and_the_anchors_stay_to_the_end(rig: Rig) -> None:
    names = ["A", EAGER, "B", INDUCTOR, "C", "D", "E"]
    _, entries = rig.run(*names, spec=replace(SPEC, interleave=4))
    assert rig.most_alive == 4
    assert rig.lines("start", "finish") == [
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


def test_more_anchors_than_may_wait_leave_room_for_one_at_a_time(rig: Rig) -> None:
    _, entries = rig.run(EAGER, INDUCTOR, "A", "B", spec=replace(SPEC, interleave=2))
    assert rig.most_alive == 3
    assert status(entries) == dict.fromkeys((EAGER, INDUCTOR, "A", "B"), Status.OK)
    assert rig.diary.index("finish A") < rig.diary.index("start B")


def test_without_interleaving_each_is_measured_and_ended_before_the_next_one(rig: Rig) -> None:
    names = [EAGER, "A", INDUCTOR]
    _, entries = rig.run(*names, spec=replace(SPEC, interleave=1))
    assert rig.most_alive == 1
    assert rig.lines("start", "finish", "done") == [
        f"{verb} {name}" for name in names for verb in ("start", "finish", "done")
    ]
    assert status(entries) == dict.fromkeys(names, Status.OK)


def test_little_memory_left_ends_those_that_wait_before_another_one_starts(
    rig: Rig,
) -> None:
    rig.memory_of_each_mb = 200.0
    rig.run(EAGER, "A", "B", "C", "D")
    assert rig.most_alive == 3  # with three of them, less than half is left
    assert rig.lines("start", "finish")[:5] == [f"start {EAGER}", "start A", "start B", "finish A", "finish B"]


def test_processes_of_the_same_conversion_are_one_outcome(rig: Rig) -> None:
    _, entries = rig.run(EAGER, "A", spec=replace(SPEC, replicates=3))
    assert rig.lines("start") == [f"start {EAGER}", "start A"] * 3
    assert all(rig.logs(name) == ["worker-1.log", "worker-2.log", "worker.log"] for name in (EAGER, "A"))
    assert rig.lines("done") == [f"done {EAGER}", "done A"]
    assert rig.lines("probe") == ["probe start", "probe end"]
    for entry in entries.values():
        found = measurement(entry)
        count = 2 * MINIMUM_ROUNDS
        assert found.samples_ms == (1.0,) * count + (2.0,) * count + (3.0,) * count
        assert [each.replicate for each in found.rounds] == [0] * 9 + [1] * 9 + [2] * 9
        assert found.convert_s == 10.0  # later ones may use what the first has compiled
        assert found.total_s == 3 * 8.0
    assert [indices(entries["A"], replicate)[1] for replicate in range(3)] == [1, 9, 17]


def test_nothing_planned_is_nothing_measured(rig: Rig) -> None:
    assert rig.run() == (True, {})
    assert rig.diary == ["probe start", "probe end"]


@pytest.mark.parametrize("replicates", [1, 2])
def test_each_is_evaluated_once_when_nobody_takes_turns(rig: Rig, replicates: int) -> None:
    rig.evaluate = EvaluateSpec("figures")
    rig.run(EAGER, "A", "B", "C", spec=replace(SPEC, interleave=2, replicates=replicates))
    assert sorted(rig.lines("evaluate")) == ["evaluate A", "evaluate B", "evaluate C", f"evaluate {EAGER}"]
    for number, line in enumerate(rig.diary):
        if line.startswith("evaluate"):  # right after its last turn, which ends its process
            assert rig.diary[number - 1] == line.replace("evaluate", "finish")


def test_evaluations_come_one_after_the_other(rig: Rig) -> None:
    rig.evaluate = EvaluateSpec("figures")
    rig.run(EAGER, "A", "B", spec=replace(SPEC, prepare_jobs=3))
    expected = [line for name in (EAGER, "A", "B") for line in (f"ask {name}", f"evaluate {name}")]
    assert rig.lines("ask", "evaluate") == expected


def test_an_interrupted_job_is_not_evaluated(rig: Rig) -> None:
    rig.evaluate, rig.interrupt_at = EvaluateSpec("figures"), "turn B 13"
    _, entries = rig.run(EAGER, "A", "B", spec=replace(SPEC, interleave=2))
    assert rig.lines("evaluate") == ["evaluate A"]  # before the interrupt
    assert rig.lines("finish") == ["finish A", f"finish {EAGER}"]
    assert status(entries)[EAGER] is Status.OK
