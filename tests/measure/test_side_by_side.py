"""Real workers that are prepared side by side: they overlap, the rounds have the machine, and the verdicts stay."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.support.example_jobs import planned
from tests.support.minimal_task import LINEAR

from almaflow.conversions.catalogue.preload import modules_for
from almaflow.machine.process_tree import descendants
from almaflow.measure.conversion_run import ConversionRun
from almaflow.measure.drift import DriftProbe
from almaflow.measure.loop import MeasurementLoop
from almaflow.measure.progress import Progress
from almaflow.measure.reference import reference_info
from almaflow.processes.interrupts import Interrupts
from almaflow.processes.launcher import Launcher
from almaflow.records import FailureKind, HardwareSpec, MachineState, MeasureSpec, Outcome, Status, WorkerTask
from almaflow.records.protocol import MINIMUM_ROUNDS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.alone]

NAMES = ("EAGER", "JIT_TRACE", "FP16+JIT_TRACE", "EXPORT+EAGER")
"""FP16 is no arithmetic that every processor has, and its verdict is one all the same."""

ASLEEP_S = 0.005
"""Most processor time that sleeping workers may use in half of the rounds of another one; threads end at times."""


class Phases(Progress):
    """Keeps when which conversion was in which phase."""

    def __init__(self) -> None:
        self.began: dict[tuple[str, str], float] = {}

    def phase(self, name: str, phase: str) -> None:
        self.began.setdefault((name, phase), time.monotonic())


class OwnLoad:
    """Looks at the processor time of all our workers but the one that takes the round.

    It reads the scheduler's nanoseconds: ticks of 10 ms, rounded for each of a dozen processes, add up to tens of
    milliseconds that nobody used.
    """

    def __init__(self) -> None:
        self.used_s: list[float] = []
        self._pid = 0
        self._before: dict[Path, int] = {}

    def begin(self, pid: int) -> None:
        self._pid = pid  # whom the sum leaves out
        self._before = self._others_ns()

    def end(self) -> MachineState:
        after = self._others_ns()
        self.used_s.append(sum(after[thread] - self._before.get(thread, 0) for thread in after) / 1e9)
        return MachineState()

    def _others_ns(self) -> dict[Path, int]:
        mine = {self._pid, *descendants(self._pid)}
        others = [pid for pid in descendants(psutil.Process().pid) if pid not in mine]
        used: dict[Path, int] = {}
        for thread in (thread for pid in others for thread in Path(f"/proc/{pid}/task").glob("*")):
            with suppress(OSError):
                used[thread] = int((thread / "schedstat").read_text().split()[0])
        return used


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Launcher, WorkerTask, DriftProbe]]:
    root = tmp_path_factory.mktemp("side-by-side")
    (root / "prepare").mkdir()
    hardware = HardwareSpec("here", "cpu", threads=1)
    task = WorkerTask(
        model=LINEAR,
        hardware=hardware,
        measure=MeasureSpec(
            min_samples=9, min_time_s=0.0, rel_precision=None, warmup_calls=1, warmup_time_s=0.0, time_budget_s=120.0
        ),
        conversion=None,
        work_dir=str(root / "prepare"),
        reference_path=str(root / "reference.pt"),
        sys_path=(str(Path(__file__).parents[2]), *sys.path),
    )
    with ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setenv("ALMAFLOW_HOME", str(root / "home"))
        plan = [planned(name) for name in NAMES]
        launcher = stack.enter_context(Launcher(hardware, root / "server.log", modules_for(LINEAR, plan)))
        worker = stack.enter_context(closing(launcher.start(task)))
        info = reference_info("linear", worker)
        task = replace(task, weights_digest=info.weights_digest, traits=info.traits)
        yield launcher, task, DriftProbe(worker)


def test_real_workers_overlap_rest_during_rounds_and_give_the_verdicts_of_one_at_a_time(
    tmp_path: Path, prepared: tuple[Launcher, WorkerTask, DriftProbe]
) -> None:
    launcher, task, probe = prepared
    verdicts: dict[int, dict[str, tuple[Status, FailureKind | None]]] = {}
    for jobs in (1, 3):
        progress, load = Phases(), OwnLoad()
        loop = MeasurementLoop(
            task=replace(task, measure=replace(task.measure, prepare_jobs=jobs)),
            launcher=launcher,
            probe=probe,
            monitor=load,  # type: ignore[arg-type]
            progress=progress,
            interrupts=Interrupts(),
        )
        runs = [ConversionRun(planned(name), tmp_path / f"{jobs}-{number}") for number, name in enumerate(NAMES)]
        for run in runs:
            run.directory.mkdir()
        for known in loop.run(runs):
            for run in known:
                run.tidy()
        outcomes = {run.planned.name: run.outcome for run in runs}
        assert all(outcomes.values())
        verdicts[jobs] = {name: verdict(outcome) for name, outcome in outcomes.items() if outcome}
        ok = [outcome for outcome in outcomes.values() if outcome and outcome.status is Status.OK]
        assert len(ok) >= len(NAMES) - 1
        for outcome in ok:
            found = outcome.measurement
            assert found is not None
            assert len(found.rounds) == MINIMUM_ROUNDS
            assert found.convert_cpu_s is not None
            assert found.prepared_beside is not None
            assert (found.prepared_beside > 0) == (jobs > 1)
        overlaps = [
            (one, other)
            for one in NAMES
            for other in NAMES
            if one < other and overlap(progress.began, one, other)
        ]  # fmt: skip
        assert bool(overlaps) == (jobs > 1)
        last = max(at for (_, phase), at in progress.began.items() if phase == "prepared")
        warm = min(at for (_, phase), at in progress.began.items() if phase == "warm-up")
        assert (last < warm) == (jobs > 1)
        assert median(load.used_s) <= ASLEEP_S, load.used_s
    assert verdicts[1] == verdicts[3]


def overlap(began: dict[tuple[str, str], float], one: str, other: str) -> bool:
    """Whether both conversions were between their beginning and their check at some time."""
    spans = [(began[name, "load"], began.get((name, "prepared"), began[name, "load"])) for name in (one, other)]
    return max(begin for begin, _ in spans) < min(end for _, end in spans)


def verdict(outcome: Outcome) -> tuple[Status, FailureKind | None]:
    return outcome.status, outcome.failure.kind if outcome.failure else None
