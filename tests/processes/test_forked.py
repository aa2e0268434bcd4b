"""Real conversions in forked workers of the real launcher: their answers and their threads."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.example_jobs import planned
from tests.support.shared_home import shared_home

from almaflow.conversions.catalogue.preload import modules_for
from almaflow.processes.launcher import Launcher
from almaflow.records import HardwareSpec, InputSpec, MeasureSpec, ModelSpec, WorkerResult, WorkerTask
from almaflow.records.protocol import RoundRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.alone]

ROOT = Path(__file__).parents[2]
CONVOLUTIONS = ModelSpec(
    "convolutions", target="tests.support.example_models.Convolutions", inputs=(InputSpec((3, 224, 224)),), batch_size=4
)
CONVERSIONS = {
    1: ("EAGER", "ONNX_CPU", "COMPILE_OPENVINO"),
    2: ("EAGER", "ONNX_CPU", "COMPILE_OPENVINO", "COMPILE_INDUCTOR_DEFAULT"),
}
BUSY_ENOUGH = 1.3
"""Processors that two threads keep busy in some round, also beside other programs."""

LEAST_TURNS, MOST_TURNS = 4, 40


@pytest.fixture(scope="module", params=CONVERSIONS, ids=lambda threads: f"{threads} threads")
def forked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, dict[str, WorkerResult]]]:
    """Each conversion in a forked worker of the real launcher, with so many threads."""
    threads = request.param
    if threads > len(os.sched_getaffinity(0)):
        pytest.skip("needs as many processors as threads")
    root = tmp_path_factory.mktemp(f"threads-{threads}")
    hardware = HardwareSpec("here", "cpu", threads=threads)
    plan = [planned(name) for name in CONVERSIONS[threads]]
    task = WorkerTask(
        model=CONVOLUTIONS,
        hardware=hardware,
        measure=MeasureSpec(min_samples=9, min_time_s=0.1, warmup_calls=3, warmup_time_s=0.1, time_budget_s=120.0),
        conversion=None,
        work_dir=str(root / "prepare"),
        reference_path=str(root / "reference.pt"),
        sys_path=(str(ROOT), *sys.path),
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ALMAFLOW_HOME", str(shared_home()))
        with Launcher(hardware, root / "server.log", modules_for(CONVOLUTIONS, plan)) as launcher:
            prepared = _run(launcher, task, turns=0).prepared
            assert prepared is not None
            task = replace(task, weights_digest=prepared.weights_digest)
            yield (
                threads,
                {
                    each.name: _run(
                        launcher, replace(task, conversion=each, work_dir=str(root / each.name)), turns=MOST_TURNS
                    )
                    for each in plan
                },
            )


def _run(launcher: Launcher, task: WorkerTask, turns: int) -> WorkerResult:
    """Its result after so many turns; after more where other programs keep it from its processors."""
    Path(task.work_dir).mkdir()
    with closing(launcher.start(task)) as worker:
        assert worker.until_ready(), worker.finish()
        for index in range(1, turns + 1):
            assert worker.turn(RoundRequest(index, 3, 0.15, 5.0)), worker.finish()
            if index >= LEAST_TURNS and _busy(worker.exit_state().result) >= BUSY_ENOUGH * task.hardware.threads / 2:
                break
        return worker.finish().result


def _busy(result: WorkerResult) -> float:
    """How many processors it kept busy in the best of its rounds."""
    return max(each.cpu_s / each.wall_s for each in result.measurement.rounds) if result.measurement else 0.0


def test_forked_workers_answer_as_eager_does(forked: tuple[int, dict[str, WorkerResult]]) -> None:
    threads, results = forked
    for name, result in results.items():
        assert result.failure is None, name
        measured = result.measurement
        assert measured is not None
        assert measured.fidelity is not None
        assert measured.fidelity.ok, name
        assert measured.fidelity.sqnr_db > 90, name
        assert measured.threads["torch"] == threads
        assert [each.index for each in measured.rounds] == list(range(len(measured.rounds)))
        assert len(measured.rounds) > LEAST_TURNS


def test_a_forked_worker_keeps_as_many_processors_busy_as_it_has_threads(
    forked: tuple[int, dict[str, WorkerResult]],
) -> None:
    threads, results = forked
    for name, result in results.items():
        assert result.measurement is not None
        rounds = result.measurement.rounds
        on_average = sum(each.cpu_s for each in rounds) / sum(each.wall_s for each in rounds)
        assert on_average <= 1.15 * threads, name
        assert threads == 1 or _busy(result) >= BUSY_ENOUGH, f"{name}: {_busy(result):.2f}"
