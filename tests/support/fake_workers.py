"""Fake workers, handed to the measurement loop: they do as a script says, and a rig keeps a diary of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.support.example_jobs import GOOD, WRONG, measured, planned

from almaflow.measure.conversion_run import ConversionRun
from almaflow.measure.loop import MeasurementLoop
from almaflow.measure.progress import Progress
from almaflow.processes.interrupts import Interrupts
from almaflow.processes.worker_handle import WorkerExit
from almaflow.records import (
    EvaluateSpec,
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
from almaflow.records.protocol import RoundReport, round_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

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
    """What keeps a process from getting prepared: a failure, or with a text its bad input."""
    warms: list[Failure | None] = field(default_factory=list)
    """What ends a process while it warms up."""
    takes_s: float = 1.0
    """How long it takes to be prepared, or to fail until then."""
    megabytes: float = 0.0
    """The memory of a process of it while it is prepared."""
    dies_in: tuple[int, int] | None = None
    """The process and the number of its turn in which it crashes."""


class FakeWorker:
    """A worker's handle whose calls take the times that it is given; it tells ``notify`` what it is asked.

    Args:
        task: With the conversion that it stands for.
        call_ms: What its calls take, over and over.
        failure: What keeps it from getting prepared: a failure, or with a text its bad input.
        cold: What ends it while it warms up.
        dies_in: The number of the turn in which it crashes.
        notify: Told what it is asked, in a line each.
        on_close: Called once, as it ends.
    """

    def __init__(
        self,
        task: WorkerTask,
        call_ms: Iterable[float] = (1.0,),
        *,
        failure: Failure | str | None = None,
        cold: Failure | None = None,
        dies_in: int | None = None,
        notify: Callable[[str], None] = lambda _line: None,
        on_close: Callable[[FakeWorker], None] = lambda _worker: None,
    ) -> None:
        assert task.conversion is not None
        self.name = task.conversion.name
        self.task = task
        self.process = self
        self.pid = hash(self.name) % 30000
        self.report: RoundReport | None = None
        self.stops_s: tuple[float, ...] = ()
        self.report_wall_s: float | None = None
        self.requests: list[RoundRequest] = []
        self.closed = False
        self.kept = False
        self.prepared = False
        self.prepared_beside = 0.0
        self.memory_mb = 0.0
        self.left_s = 0.0
        self._cold = cold
        self._finished = False
        self._call_ms = iter(cycle(call_ms))
        self._failure = failure
        self._dies_in = dies_in
        self._notify = notify
        self._on_close = on_close
        self._rounds: list[int] = []

    @property
    def numbers(self) -> list[int]:
        """Numbers of the rounds that it was asked for."""
        return [request.index for request in self.requests]

    @property
    def running(self) -> bool:
        return not self.closed and (self._failure is None or self.left_s > 0)

    def end(self, kind: FailureKind, message: str) -> None:
        self._failure = Failure(kind, message, "convert")
        self.left_s = 0.0

    def until_ready(self) -> bool:
        self._notify(f"warm {self.name}")
        self._failure = self._failure or self._cold
        if self._failure is not None:
            return False
        self.report = self._take(round_request(SPEC, 0))
        return True

    def turn(self, request: RoundRequest) -> RoundReport | None:
        self._notify(f"turn {self.name} {request.index}")
        self.requests.append(request)
        if len(self.requests) == self._dies_in:
            self._failure = CRASHED
            return None
        return self._take(request)

    def _take(self, request: RoundRequest) -> RoundReport:
        self._rounds.append(request.index)
        samples: list[float] = []
        while True:
            samples.append(next(self._call_ms))
            wall_s = sum(samples) / 1000
            if wall_s >= request.max_time_s or (len(samples) >= request.min_calls and wall_s >= request.min_time_s):
                return RoundReport(len(samples), median(samples), self.report_wall_s or wall_s)

    def ask_to_finish(self, *, keep: bool = False) -> None:
        self._notify(f"ask {self.name}")
        self.kept = self.kept or keep

    def finish(self, *, keep: bool = False, evaluate: bool = True, beside: Sequence[object] = ()) -> WorkerExit:
        del beside
        self._notify(f"finish {self.name}")
        self.kept = self.kept or keep
        if evaluate and self.task.evaluate:
            self._notify(f"evaluate {self.name}")
        self._finished = True
        self.close()
        return self.exit_state()

    def exit_state(self) -> WorkerExit:
        replicate = self.task.replicate
        rounds = tuple(Round(replicate, index, 2, 0.0, 0.002, 0.002, 1.0) for index in self._rounds)
        samples = [float(replicate) + 1] * (2 * len(rounds))
        wrong = self._failure is LIED
        measurement = replace(
            measured(samples, fidelity=WRONG if wrong else GOOD),
            rounds=rounds,
            convert_s=10.0 - replicate,
            prepared_beside=self.prepared_beside,
        )
        if isinstance(self._failure, str):
            result = WorkerResult(bad_input=self._failure, finished=True)
        elif self._failure is not None and not rounds and not wrong:
            result = WorkerResult(failure=self._failure)
        else:
            finished = self._finished or self._failure is not None
            result = WorkerResult(measurement=measurement, failure=self._failure, finished=finished)
        return WorkerExit(result, Path("worker.log"), "measure")

    def close(self) -> None:
        if not self.closed:
            self._on_close(self)
        self.closed = True


class Warnings(Progress):
    """Progress that keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@dataclass
class Rig:
    """Everything that a ``MeasurementLoop`` is handed, faked, and a diary of what it does."""

    root: Path
    """The conversions' directories are made here."""
    scripts: dict[str, Script] = field(default_factory=dict)
    interrupt_at: str | None = None
    """The line of the diary at which the user interrupts, once."""
    again_at: str | None = None
    """The line after it at which the user interrupts once more."""
    interrupt_after: int | None = None
    """The number of lines after which the user interrupts."""
    before_start: Callable[[WorkerTask], None] = lambda _task: None
    """Called before each process starts."""
    memory_of_each_mb: float = 0.0
    """What each process that is alive takes from the 1000 MB that are free."""
    keep_fails: BaseException | None = None
    """What keeps the first outcomes from being kept."""
    evaluate: EvaluateSpec | None = None
    """What the conversions are evaluated by."""
    looks: Callable[[], None] = lambda: None
    """Called between two looks at workers that are prepared."""
    diary: list[str] = field(default_factory=list)
    alive: list[FakeWorker] = field(default_factory=list)
    most_alive: int = 0
    most_prepared: int = 0
    """The most that were prepared at once."""
    begun: list[FakeWorker] = field(default_factory=list)
    progress: Warnings = field(default_factory=Warnings)
    _announced: list[FakeWorker] = field(default_factory=list)

    def say(self, line: str) -> None:
        self.diary.append(line)
        if len(self.diary) == self.interrupt_after:
            raise KeyboardInterrupt
        if line == self.interrupt_at:
            self.interrupt_at, self.again_at = self.again_at, None
            raise KeyboardInterrupt

    def start(self, task: WorkerTask, on_phase: Callable[[str], None]) -> FakeWorker:
        """Start a worker, as the launcher does."""
        assert task.conversion is not None
        self.before_start(task)
        script = self.scripts.get(task.conversion.name, Script())
        on_phase("load")
        (Path(task.work_dir) / "worker.log").touch()
        process, turn = script.dies_in or (None, None)
        worker = FakeWorker(
            task,
            failure=script.starts.pop(0) if script.starts else None,
            cold=script.warms.pop(0) if script.warms else None,
            dies_in=turn if process == task.replicate else None,
            notify=self.say,
            on_close=self.alive.remove,
        )
        worker.left_s, worker.memory_mb = script.takes_s, script.megabytes
        self.alive.append(worker)
        self.begun.append(worker)
        self.most_alive = max(self.most_alive, len(self.alive))
        return worker

    def wait(
        self,
        workers: Sequence[FakeWorker],
        enough: Callable[[FakeWorker], bool],
        after_each_look: Callable[[], None],
    ) -> list[FakeWorker]:
        """Wait for workers that are prepared, as ``wait_for_any`` does, on a clock that costs no time."""
        self.most_prepared = max(self.most_prepared, len(workers))
        for worker in workers:
            if worker not in self._announced:
                self._announced.append(worker)
                self.say(f"start {worker.name}")
        while not (there := [each for each in workers if enough(each) or not each.running]):
            passed_s = min(each.left_s for each in workers)
            for each in workers:
                each.left_s -= passed_s
                each.prepared_beside = max(each.prepared_beside, len(workers) - 1)
                each.prepared = each.left_s <= 0 and each.running
            self.looks()
            after_each_look()
        for worker in there:
            self.say(f"{'ready' if worker.running else 'ended'} {worker.name}")
        return there

    def at_start(self) -> None:
        """Probe for drift at the start, as at the end."""
        self.say("probe start")

    def at_end(self) -> None:
        self.say("probe end")

    def begin(self, _pid: int) -> None:
        """Look at the machine, as the monitor does."""

    def end(self) -> MachineState:
        return MachineState(others_cpus=0.5)

    @property
    def said(self) -> str:
        """What the user was warned of."""
        return "\n".join(self.progress.warnings)

    def run(
        self, *names: str, spec: MeasureSpec = SPEC, fail_fast: bool = False
    ) -> tuple[bool, dict[str, ConversionRun]]:
        """Measure these conversions: whether they were finished, and their runs."""
        runs = {name: ConversionRun(planned(name), self.root / name) for name in names}
        for run in runs.values():
            run.directory.mkdir(exist_ok=True)
        loop = self.loop(spec, fail_fast=fail_fast)
        try:
            for known in loop.run(list(runs.values())):
                self._keep(known)
                if self.keep_fails is not None:
                    loop.stop(self.keep_fails)
                    self.keep_fails = None
        finally:
            assert not self.alive, "a process was left"
            given = self.lines("done")
            assert given == list(dict.fromkeys(given)), "an outcome was given twice"
            assert set(given) == {f"done {name}" for name, run in runs.items() if run.outcome}, "an outcome was lost"
        return not loop.interrupted, runs

    def loop(self, spec: MeasureSpec = SPEC, *, fail_fast: bool = False) -> MeasurementLoop:
        fake: Any = self
        return MeasurementLoop(
            task=WorkerTask(ModelSpec("m"), HARDWARE, spec, None, "", "", evaluate=self.evaluate),
            launcher=fake,
            probe=fake,
            monitor=fake,
            progress=self.progress,
            interrupts=Interrupts(),
            fail_fast=fail_fast,
            free_memory_mb=self.free_memory_mb,
            wait=fake.wait,
            gap_s=0.0,
        )

    def free_memory_mb(self) -> float:
        own = sum(each.memory_mb for each in self.alive if each.running)
        return 1000.0 - self.memory_of_each_mb * len(self.alive) - own

    def _keep(self, known: Sequence[ConversionRun]) -> None:
        for run in known:
            assert not run.worker, "its process still runs"
            run.tidy()
            self.diary.append(f"{'done' if run.outcome else 'partly'} {run.planned.name}")
            assert not (run.directory / "work").exists(), "its process was not tidied up after"

    def logs(self, name: str) -> list[str]:
        """The logs that a conversion's processes left, one each."""
        return sorted(path.name for path in (self.root / name).glob("worker*.log"))

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
