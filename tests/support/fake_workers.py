"""Made workers for tests of a job's conversions: they do as a script says and keep a diary of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from tests.support.example_jobs import GOOD, WRONG, measured, planned

from almaflow.measure.loop import ConversionRun, MeasurementLoop
from almaflow.processes.interrupts import Interrupts
from almaflow.processes.worker_handle import WorkerExit
from almaflow.records import (
    Failure,
    FailureKind,
    HardwareSpec,
    MachineState,
    Measurement,
    MeasureSpec,
    ModelSpec,
    Outcome,
    Round,
    Status,
    WorkerResult,
    WorkerTask,
)
from almaflow.records.protocol import RoundReport
from almaflow.report.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from almaflow.records.protocol import RoundRequest

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


class Worker:
    """A process with a made clock, which says to the house's diary what it does."""

    def __init__(self, house: House, task: WorkerTask, script: Script, failure: Failure | str | None) -> None:
        assert task.conversion is not None
        self.name = task.conversion.name
        self.task = task
        self.process = self
        self.pid = 1
        self.report: RoundReport | None = None
        self.closed = False
        self._house = house
        self._script = script
        self._failure = failure
        self._indices: list[int] = []

    def until_ready(self) -> bool:
        self._house.say(f"start {self.name}")
        if self._failure is not None:
            return False
        self._take(0)
        return True

    def turn(self, turn: RoundRequest) -> RoundReport | None:
        self._house.say(f"turn {self.name} {turn.index}")
        if self._script.dies_in == (self.task.replicate, len(self._indices)):
            self._failure = CRASHED
            return None
        return self._take(turn.index)

    def _take(self, index: int) -> RoundReport:
        self._indices.append(index)
        self.report = RoundReport(2, 1.0, 0.002)
        return self.report

    def finish(self) -> WorkerExit:
        self._house.say(f"finish {self.name}")
        self.close()
        return self.exit_state()

    def exit_state(self) -> WorkerExit:
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


@dataclass
class House:
    """Everything around ``MeasurementLoop``, made, and a diary of what it does."""

    scripts: dict[str, Script] = field(default_factory=dict)
    interrupt_at: str | None = None
    """The line of the diary at which the user interrupts, once."""
    before_start: Callable[[WorkerTask], None] = lambda _task: None
    """Called before each process starts."""
    diary: list[str] = field(default_factory=list)
    alive: list[Worker] = field(default_factory=list)
    most_alive: int = 0
    begun: list[Worker] = field(default_factory=list)
    written: StringIO = field(default_factory=StringIO)

    def say(self, line: str) -> None:
        self.diary.append(line)
        if line == self.interrupt_at:
            self.interrupt_at = None
            raise KeyboardInterrupt

    def start(self, task: WorkerTask, on_phase: Callable[[str], None]) -> Worker:
        assert task.conversion is not None
        self.before_start(task)
        script = self.scripts.get(task.conversion.name, Script())
        on_phase("load")
        worker = Worker(self, task, script, script.starts.pop(0) if script.starts else None)
        self.alive.append(worker)
        self.begun.append(worker)
        self.most_alive = max(self.most_alive, len(self.alive))
        return worker

    def at_start(self) -> None:
        self.say("control start")

    def at_end(self) -> None:
        self.say("control end")

    def begin(self, _pid: int) -> None:
        pass

    def end(self) -> MachineState:
        return MachineState(others_cpus=0.5)

    def ended(self, entry: ConversionRun, replicate: int) -> None:
        self.say(f"ended {entry.planned.name} {replicate}")

    def done(self, entries: Sequence[ConversionRun]) -> None:
        self.diary += [f"done {entry.planned.name}" for entry in entries]

    @property
    def said(self) -> str:
        """What the user was told."""
        return self.written.getvalue()

    def run(
        self, *names: str, spec: MeasureSpec = SPEC, fail_fast: bool = False
    ) -> tuple[bool, dict[str, ConversionRun]]:
        entries = [ConversionRun(planned(name), Path("/conversions") / name) for name in names]
        finished = self.measuring(spec, fail_fast=fail_fast).run(entries)
        assert not self.alive, "a process was left"
        told = [line for line in self.diary if line.startswith("done ")]
        assert told == list(dict.fromkeys(told)), "an outcome was given twice"
        assert {line.removeprefix("done ") for line in told} == {
            entry.planned.name for entry in entries if entry.outcome
        }, "an outcome was lost"
        return finished, {entry.planned.name: entry for entry in entries}

    def measuring(self, spec: MeasureSpec = SPEC, *, fail_fast: bool = False) -> MeasurementLoop:
        anything: Any = self
        return MeasurementLoop(
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


def status(entries: dict[str, ConversionRun]) -> dict[str, Status | None]:
    return {name: entry.outcome.status if entry.outcome else None for name, entry in entries.items()}


def outcome(entry: ConversionRun) -> Outcome:
    assert entry.outcome is not None
    return entry.outcome


def measurement(entry: ConversionRun) -> Measurement:
    found = outcome(entry).measurement
    assert found is not None
    return found


def indices(entry: ConversionRun, replicate: int = 0) -> list[int]:
    """Numbers of the rounds that an outcome has of one process."""
    return [each.index for each in measurement(entry).rounds if each.replicate == replicate]
