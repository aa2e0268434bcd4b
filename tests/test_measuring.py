"""A job's conversions: who is measured beside whom, what a failure costs, what an interrupt keeps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from tests.made_jobs import GOOD, WRONG, measured, planned

from almaflow import measuring
from almaflow.errors import AlmaflowError
from almaflow.interrupts import Interrupts
from almaflow.measure import interleave
from almaflow.measure.drift import Control
from almaflow.measure.events import Report
from almaflow.measure.rounds_plan import MINIMUM_ROUNDS
from almaflow.measure.watch import WorkerExit
from almaflow.measuring import Entry, Measuring
from almaflow.records import (
    Failure,
    FailureKind,
    HardwareSpec,
    MachineState,
    MeasureSpec,
    ModelSpec,
    Round,
    Status,
    WorkerResult,
    WorkerTask,
)
from almaflow.report.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from almaflow.measure.events import Turn

EAGER, INDUCTOR = "EAGER", "COMPILE_INDUCTOR_DEFAULT"
SPEC = MeasureSpec(min_samples=18, min_time_s=0.0, rel_precision=None, max_time_s=90.0)
HARDWARE = HardwareSpec("here", "cpu", threads=1)
RAISED = Failure(FailureKind.ERROR, "ValueError: no", "convert")
NO_MEMORY = Failure(FailureKind.OUT_OF_MEMORY, "used 9 MB", "convert")
CRASHED = Failure(FailureKind.CRASHED, "the worker was killed by SIGABRT", "measure")
LIED = Failure(FailureKind.WRONG_OUTPUT, "SQNR 1.0 dB", "measure")


@dataclass
class Script:
    """How the processes of one conversion go, one after the other; None: well."""

    starts: list[Failure | str | None] = field(default_factory=list)
    """What keeps a process from getting ready: a failure, or with a text its bad input."""
    dies_in: tuple[int, int] | None = None
    """The process and the number of its turn in which it crashes."""
    interrupts: str | None = None
    """``start``, ``turn`` or ``finish``: the user interrupts then."""


class Worker:
    """A process with a made clock, which says to the house's diary what it does."""

    def __init__(self, house: House, task: WorkerTask, script: Script, failure: Failure | str | None) -> None:
        assert task.conversion is not None
        self.name = task.conversion.name
        self.task = task
        self.process = self
        self.pid = 1
        self.report: Report | None = None
        self.closed = False
        self._house = house
        self._script = script
        self._failure = failure
        self._indices: list[int] = []

    def until_ready(self) -> bool:
        self._house.say(f"start {self.name}")
        self._interrupt("start")
        if self._failure is not None:
            return False
        return self._take(0) is not None

    def turn(self, turn: Turn) -> Report | None:
        self._house.say(f"turn {self.name} {turn.index}")
        self._interrupt("turn")
        if self._script.dies_in == (self.task.replicate, len(self._indices)):
            self._failure = CRASHED
            return None
        return self._take(turn.index)

    def _take(self, index: int) -> Report:
        self._indices.append(index)
        self.report = Report(2, 1.0, 0.002)
        return self.report

    def finish(self) -> WorkerExit:
        self._interrupt("finish")
        self._house.say(f"finish {self.name}")
        self.close()
        return self.left()

    def left(self) -> WorkerExit:
        replicate = self.task.replicate
        rounds = tuple(Round(replicate, index, 2, 0.0, 0.002, 0.002, 1.0) for index in self._indices)
        samples = [float(replicate) + 1] * (2 * len(rounds))
        wrong = self._failure is LIED
        measurement = replace(
            measured(samples, fidelity=WRONG if wrong else GOOD), rounds=rounds, convert_s=10.0 - replicate
        )
        if isinstance(self._failure, str):
            result = WorkerResult(bad_input=self._failure, finished=True)
        elif self._failure is not None and not rounds and not wrong:
            result = WorkerResult(failure=self._failure)
        else:
            result = WorkerResult(measurement=measurement, failure=self._failure, finished=True)
        return WorkerExit(result, Path("worker.log"), "measure")

    def close(self) -> None:
        if not self.closed:
            self._house.alive.remove(self)
        self.closed = True

    def _interrupt(self, where: str) -> None:
        if self._script.interrupts == where:
            self._script.interrupts = None
            raise KeyboardInterrupt


@dataclass
class House:
    """Everything around ``Measuring``, made, and a diary of what it does."""

    scripts: dict[str, Script] = field(default_factory=dict)
    diary: list[str] = field(default_factory=list)
    alive: list[Worker] = field(default_factory=list)
    most_alive: int = 0
    begun: list[Worker] = field(default_factory=list)
    written: StringIO = field(default_factory=StringIO)

    def say(self, line: str) -> None:
        self.diary.append(line)

    def start(self, task: WorkerTask, on_phase: Callable[[str], None]) -> Worker:
        assert task.conversion is not None
        script = self.scripts.get(task.conversion.name, Script())
        on_phase("load")
        worker = Worker(self, task, script, script.starts.pop(0) if script.starts else None)
        self.alive.append(worker)
        self.begun.append(worker)
        self.most_alive = max(self.most_alive, len(self.alive))
        return worker

    def at_start(self) -> None:
        self.say("control")

    at_end = at_start

    def begin(self, _pid: int) -> None:
        pass

    def end(self) -> MachineState:
        return MachineState(others_cpus=0.5)

    def ended(self, entry: Entry, replicate: int) -> None:
        self.say(f"ended {entry.planned.name} {replicate}")

    def done(self, entries: Sequence[Entry]) -> None:
        self.diary += [f"done {entry.planned.name}" for entry in entries]

    @property
    def said(self) -> str:
        """What the user was told."""
        return self.written.getvalue()

    def run(self, *names: str, spec: MeasureSpec = SPEC, fail_fast: bool = False) -> tuple[bool, dict[str, Entry]]:
        entries = [Entry(planned(name), Path("/conversions") / name) for name in names]
        finished = self.measuring(spec, fail_fast=fail_fast).run(entries)
        assert not self.alive, "a process was left"
        told = [line for line in self.diary if line.startswith("done ")]
        assert told == list(dict.fromkeys(told)), "an outcome was given twice"
        assert {line.removeprefix("done ") for line in told} == {
            entry.planned.name for entry in entries if entry.outcome
        }, "an outcome was lost"
        return finished, {entry.planned.name: entry for entry in entries}

    def measuring(self, spec: MeasureSpec = SPEC, *, fail_fast: bool = False) -> Measuring:
        anything: Any = self
        return Measuring(
            spec=spec,
            hardware=HARDWARE,
            launcher=anything,
            control=anything,
            task_of=lambda entry, replicate: WorkerTask(
                ModelSpec("m"), HARDWARE, spec, entry.planned, "", "", replicate=replicate
            ),
            ended=self.ended,
            done=self.done,
            progress=Progress(Console(file=self.written)),
            interrupts=Interrupts(),
            fail_fast=fail_fast,
        )

    def lines(self, *verbs: str) -> list[str]:
        return [line for line in self.diary if line.split()[0] in verbs]


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    made = House()
    monkeypatch.setattr(interleave, "GAP_S", 0.0)
    monkeypatch.setattr(measuring, "StateWatch", lambda *_: made)
    monkeypatch.setattr(measuring, "free_memory_mb", lambda: 1000.0)
    return made


def status(entries: dict[str, Entry]) -> dict[str, Status | None]:
    return {name: entry.outcome.status if entry.outcome else None for name, entry in entries.items()}


def failure(entry: Entry) -> Failure | None:
    assert entry.outcome is not None
    return entry.outcome.failure


def indices(entry: Entry, replicate: int = 0) -> list[int]:
    """Numbers of the rounds that an outcome has of one process."""
    assert entry.outcome is not None
    assert entry.outcome.measurement is not None
    return [each.index for each in entry.outcome.measurement.rounds if each.replicate == replicate]


def test_all_get_ready_in_the_order_of_the_plan_then_take_turns_then_end(house: House) -> None:
    finished, entries = house.run(EAGER, "ONNX_CPU", "JIT_TRACE")
    assert finished
    names = [EAGER, "ONNX_CPU", "JIT_TRACE"]
    assert house.lines("start", "finish", "control") == [
        "control",
        *(f"start {name}" for name in names),
        *(f"finish {name}" for name in names),
        "control",
    ]
    assert house.diary.index("start JIT_TRACE") < house.diary.index(f"turn {EAGER} 1")
    assert house.lines("done") == [f"done {name}" for name in names]
    assert status(entries) == dict.fromkeys(names, Status.OK)
    for name, entry in entries.items():
        assert indices(entry) == list(range(MINIMUM_ROUNDS))
        assert entry.outcome is not None
        assert entry.outcome.log_path == f"/conversions/{name}/worker.log"
        measurement = entry.outcome.measurement
        assert measurement is not None
        assert measurement.stable
        assert measurement.rounds[0].state is None
        assert all(each.state and each.state.others_cpus == 0.5 for each in measurement.rounds[1:])
        assert 0 < entry.started_at <= entry.outcome.ended_at


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
    assert house.lines("control") == ["control"] * 2
    for entry in entries.values():
        assert entry.outcome is not None
        measurement = entry.outcome.measurement
        assert measurement is not None
        count = 2 * MINIMUM_ROUNDS
        assert measurement.samples_ms == (1.0,) * count + (2.0,) * count + (3.0,) * count
        assert [each.replicate for each in measurement.rounds] == [0] * 9 + [1] * 9 + [2] * 9
        assert measurement.convert_s == 10.0  # later ones may use what the first has compiled
        assert measurement.total_s == 3 * 8.0
    taken = [indices(entries["A"], replicate)[1:] for replicate in range(3)]
    assert [taken[0][0], taken[1][0], taken[2][0]] == [1, 9, 17]


@pytest.mark.parametrize(
    ("script", "expected", "rounds"),
    [
        (Script(starts=[RAISED]), RAISED, None),
        (Script(starts=[LIED]), LIED, 0),
        (Script(starts=["the model is wrong"]), Failure(FailureKind.ERROR, "the model is wrong", "measure"), None),
        (Script(dies_in=(0, 4)), CRASHED, 4),
        (Script(dies_in=(0, 1)), CRASHED, 1),
    ],
    ids=["raised", "wrong", "bad input", "died late", "died early"],
)
def test_a_failure_costs_its_own_conversion_only(
    house: House, script: Script, expected: Failure, rounds: int | None
) -> None:
    house.scripts["BAD"] = script
    finished, entries = house.run(EAGER, "BAD", "A")
    assert finished
    assert status(entries) == {EAGER: Status.OK, "BAD": Status.FAILED, "A": Status.OK}
    assert failure(entries["BAD"]) == expected
    bad = entries["BAD"].outcome
    assert bad is not None
    assert not bad.interrupted
    assert (None if bad.measurement is None else len(bad.measurement.rounds)) == rounds
    assert indices(entries["A"])[1:] == indices(entries[EAGER])[1:MINIMUM_ROUNDS]


def test_an_anchor_that_fails_costs_itself_only(house: House) -> None:
    house.scripts[EAGER] = Script(dies_in=(0, 2))
    _, entries = house.run(EAGER, "A", "B", spec=replace(SPEC, interleave=2))
    assert status(entries) == {EAGER: Status.FAILED, "A": Status.OK, "B": Status.OK}
    assert failure(entries[EAGER]) == CRASHED


def test_a_failure_in_a_later_process_is_one_and_keeps_what_the_first_measured(house: House) -> None:
    house.scripts["BAD"] = Script(dies_in=(1, 3))
    _, entries = house.run("BAD", "A", spec=replace(SPEC, replicates=3))
    assert status(entries) == {"BAD": Status.FAILED, "A": Status.OK}
    assert failure(entries["BAD"]) == CRASHED
    assert len(indices(entries["BAD"], 0)) == MINIMUM_ROUNDS
    assert len(indices(entries["BAD"], 1)) == 3
    assert house.lines("start").count("start BAD") == 2  # no third one


def test_out_of_memory_beside_others_is_tried_again_alone(house: House) -> None:
    house.scripts["BIG"] = Script(starts=[NO_MEMORY])
    _, entries = house.run(EAGER, "A", "BIG", "B")
    assert status(entries) == dict.fromkeys((EAGER, "A", "BIG", "B"), Status.OK)
    assert house.lines("start", "finish", "ended")[:9] == [
        f"start {EAGER}",
        "start A",
        "start BIG",
        f"finish {EAGER}",
        f"ended {EAGER} 0",
        "finish A",
        "ended A 0",
        "ended BIG 0",
        "start BIG",
    ]
    assert "BIG: out of memory beside others, tried again alone" in house.said
    first, second = (each for each in house.begun if each.name == "BIG")
    assert first.closed
    assert second.closed


def test_the_process_that_was_out_of_memory_is_ended_before_it_is_tried_again(house: House) -> None:
    house.scripts["BIG"] = Script(starts=[NO_MEMORY])
    alive_then: list[list[str]] = []
    start = house.start

    def watched(task: WorkerTask, on_phase: Callable[[str], None]) -> Worker:
        alive_then.append([each.name for each in house.alive])
        return start(task, on_phase)

    house.start = watched  # type: ignore[method-assign]
    house.run("A", "BIG")
    assert alive_then == [[], ["A"], []]


def test_out_of_memory_is_final_where_it_was_alone_or_the_limit_is_the_users(house: House) -> None:
    house.scripts = {"BIG": Script(starts=[NO_MEMORY])}
    _, entries = house.run("BIG", "A")
    assert failure(entries["BIG"]) == NO_MEMORY
    house.scripts = {"BIG": Script(starts=[NO_MEMORY])}
    house.diary.clear()
    _, entries = house.run("A", "BIG", spec=replace(SPEC, memory_limit_mb=9.0))
    assert failure(entries["BIG"]) == NO_MEMORY
    assert house.lines("start") == ["start A", "start BIG"]


def test_out_of_memory_alone_as_well_is_a_failure(house: House) -> None:
    house.scripts["BIG"] = Script(starts=[NO_MEMORY, NO_MEMORY])
    _, entries = house.run("A", "BIG")
    assert failure(entries["BIG"]) == NO_MEMORY
    assert house.lines("start") == ["start A", "start BIG", "start BIG"]


def test_fail_fast_starts_nothing_after_a_failure_and_measures_those_that_are_ready(house: House) -> None:
    house.scripts["BAD"] = Script(starts=[RAISED])
    finished, entries = house.run(EAGER, "A", "BAD", "B", fail_fast=True)
    assert finished
    assert status(entries) == {EAGER: Status.OK, "A": Status.OK, "BAD": Status.FAILED, "B": None}
    assert len(indices(entries["A"])) == MINIMUM_ROUNDS
    assert "fail_fast: stopped after BAD failed" in house.said


def test_fail_fast_heeds_a_failure_while_turns_are_taken(house: House) -> None:
    house.scripts["BAD"] = Script(dies_in=(0, 2))
    _, entries = house.run("A", "BAD", "B", "C", spec=replace(SPEC, interleave=2), fail_fast=True)
    assert status(entries) == {"A": Status.OK, "BAD": Status.FAILED, "B": None, "C": None}
    assert "fail_fast: stopped after BAD failed" in house.said


def test_fail_fast_starts_no_further_processes_of_the_others_and_keeps_what_they_measured(house: House) -> None:
    house.scripts["BAD"] = Script(starts=[RAISED])
    _, entries = house.run("A", "BAD", "B", spec=replace(SPEC, replicates=3), fail_fast=True)
    assert house.lines("start") == ["start A", "start BAD"]
    assert status(entries) == {"A": Status.OK, "BAD": Status.FAILED, "B": None}
    assert len(indices(entries["A"])) == MINIMUM_ROUNDS


def test_fail_fast_heeds_a_failure_in_the_last_turns_before_further_processes(house: House) -> None:
    house.scripts["BAD"] = Script(dies_in=(0, 2))
    _, entries = house.run("A", "BAD", spec=replace(SPEC, replicates=2), fail_fast=True)
    assert house.lines("start") == ["start A", "start BAD"]
    assert status(entries) == {"A": Status.OK, "BAD": Status.FAILED}


def test_without_fail_fast_the_first_failure_stops_nothing(house: House) -> None:
    house.scripts["BAD"] = Script(starts=[RAISED])
    _, entries = house.run("BAD", "A")
    assert status(entries) == {"BAD": Status.FAILED, "A": Status.OK}
    assert "fail_fast" not in house.said


def test_an_interrupt_while_one_gets_ready_keeps_those_that_are(house: House) -> None:
    house.scripts["B"] = Script(interrupts="start")
    finished, entries = house.run(EAGER, "A", "B", "C")
    assert not finished
    assert status(entries) == {EAGER: Status.OK, "A": Status.OK, "B": Status.FAILED, "C": None}
    assert indices(entries["A"]) == [0]
    under_way = entries["B"].outcome
    assert under_way is not None
    assert under_way.interrupted
    assert under_way.failure is None
    assert under_way.measurement is None  # it has not been found right
    ready = entries["A"].outcome
    assert ready is not None
    assert not ready.interrupted
    assert ready.measurement is not None
    assert not ready.measurement.stable
    assert house.lines("control") == ["control"]
    assert set(house.lines("ended")) == {f"ended {name} 0" for name in (EAGER, "A", "B")}


def test_an_interrupt_while_turns_are_taken_keeps_all_rounds_so_far(house: House) -> None:
    say = house.say

    def interrupt_later(line: str) -> None:
        say(line)
        if line == "turn A 5":
            raise KeyboardInterrupt

    house.say = interrupt_later  # type: ignore[method-assign]
    finished, entries = house.run(EAGER, "A", "B")
    assert not finished
    assert status(entries) == dict.fromkeys((EAGER, "A", "B"), Status.OK)
    assert [len(indices(entry)) for entry in entries.values()] == [6, 5, 5]


@pytest.mark.parametrize("guilty", ["A", "B", "C"])
def test_an_interrupt_while_processes_end_loses_no_outcome(house: House, guilty: str) -> None:
    house.scripts[guilty] = Script(interrupts="finish")
    finished, entries = house.run("A", "B", "C")
    assert not finished
    assert status(entries) == dict.fromkeys("ABC", Status.OK)
    assert all(len(indices(entry)) == MINIMUM_ROUNDS for entry in entries.values())


def test_an_interrupt_in_a_later_process_keeps_the_earlier_ones(house: House) -> None:
    script = house.scripts["B"] = Script()
    start = house.start

    def interrupt_second(task: WorkerTask, on_phase: Callable[[str], None]) -> Worker:
        script.interrupts = "start" if task.replicate == 1 else None
        return start(task, on_phase)

    house.start = interrupt_second  # type: ignore[method-assign]
    finished, entries = house.run("A", "B", "C", spec=replace(SPEC, replicates=2))
    assert not finished
    assert status(entries) == dict.fromkeys("ABC", Status.OK)
    assert [len(indices(entry, 0)) for entry in entries.values()] == [MINIMUM_ROUNDS] * 3
    assert indices(entries["A"], 1) == [0]
    assert indices(entries["B"], 1) == indices(entries["C"], 1) == []
    assert not any(entry.outcome.interrupted for entry in entries.values() if entry.outcome)


@pytest.mark.parametrize("calls", [1, 2])
def test_an_interrupt_of_the_control_leaves_what_is_known_by_then(house: House, calls: int) -> None:
    seen: list[int] = []

    def interrupt() -> None:
        seen.append(1)
        if len(seen) == calls:
            raise KeyboardInterrupt

    house.at_start = house.at_end = interrupt  # type: ignore[method-assign]
    finished, entries = house.run("A")
    assert not finished
    assert status(entries) == {"A": Status.OK if calls == 2 else None}


def test_a_server_that_cannot_start_workers_ends_the_job_and_keeps_what_was_measured(house: House) -> None:
    start = house.start

    def broken(task: WorkerTask, on_phase: Callable[[str], None]) -> Worker:
        if task.conversion and task.conversion.name == "B":
            message = "the process that starts the workers has gone"
            raise AlmaflowError(message)
        return start(task, on_phase)

    house.start = broken  # type: ignore[method-assign]
    with pytest.raises(AlmaflowError, match="has gone"):
        house.run(EAGER, "A", "B", "C")
    assert not house.alive
    assert house.lines("done") == [f"done {EAGER}", "done A"]
    assert house.lines("ended") == [f"ended {EAGER} 0", "ended A 0"]


def test_nothing_planned_is_nothing_measured(house: House) -> None:
    assert house.run() == (True, {})
    assert house.diary == ["control", "control"]


class ControlWorker:
    """Gives made medians, round by round, and dies with the last."""

    def __init__(self, *medians_ms: float) -> None:
        self._left = list(medians_ms)
        self.turns: list[Turn] = []

    def turn(self, turn: Turn) -> Report | None:
        self.turns.append(turn)
        return Report(3, self._left.pop(0), 0.1) if self._left else None


def drift_of(*medians_ms: float) -> tuple[Any, list[Turn]]:
    worker = ControlWorker(*medians_ms)
    anything: Any = worker
    control = Control(anything)
    control.at_start()
    control.at_end()
    return control.drift(), worker.turns


def test_drift_is_eager_at_the_end_beside_eager_at_the_start() -> None:
    found, turns = drift_of(10.0, 10.2, 9.9, 10.0, 30.0, 12.0, 12.1, 12.0, 11.9, 12.0)
    assert (found.start_ms, found.end_ms) == (10.0, 12.0)
    assert found.relative == pytest.approx(0.2)
    assert found.resolved == pytest.approx(2.01)  # one round of the first was far off: less than that is noise
    assert len(turns) == 10


@pytest.mark.parametrize("medians_ms", [(), (10.0,) * 4, (10.0,) * 5, (10.0,) * 9, (0.0, *(10.0,) * 9)])
def test_a_control_that_has_died_or_whose_clock_is_too_coarse_tells_nothing(medians_ms: tuple[float, ...]) -> None:
    assert drift_of(*medians_ms)[0] is None
