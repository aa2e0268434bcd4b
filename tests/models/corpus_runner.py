"""Runs examples of the corpus by the product's own workers, without a job and without a store.

Each model has a reference worker, then one worker for each conversion, as in a job, but with a single timed call. All
workers of a thread are forked by one server, so that each starts in a tenth of a second.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING

from tests.models.corpus.example import OK, OK_WITH_NOTE, ROUNDING

from almaflow.conversions.catalogue.preload import modules_for
from almaflow.errors import AlmaflowError, UsageError
from almaflow.measure.reference import reference_info
from almaflow.processes.environment import module_search_path
from almaflow.processes.launcher import Launcher
from almaflow.records import HardwareSpec, MeasureSpec, WorkerTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.models.corpus.example import Example

    from almaflow.processes.worker_handle import WorkerExit
    from almaflow.records import Measurement, ModelTraits, PlannedConversion

ROOT = Path(__file__).parents[2]

ONE_CALL = MeasureSpec(
    min_samples=1,
    min_time_s=0.0,
    rel_precision=None,
    max_time_s=0.05,
    interleave=1,
    warmup_calls=0,
    warmup_time_s=0.0,
    time_budget_s=300.0,
    exclusive="ignore",
)
"""As little measuring as there can be: the verdicts are asked for, not the times."""

HALF = 0.5

REFUSED = "refused"
"""The model was refused in one line before any conversion."""
NOT_PREPARED = "not prepared"
"""The reference worker failed, so that the model cannot be measured at all."""


@dataclass(frozen=True)
class Verdict:
    """What almaflow said of one conversion of one model."""

    conversion: str
    dtype: str
    verdict: str
    message: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Examined:
    """What almaflow found out about one model."""

    example: Example
    verdicts: tuple[Verdict, ...]
    traits: ModelTraits | None = None
    refusal: str = ""

    def only(self, conversions: Sequence[str]) -> Examined:
        """The same with the verdicts of these conversions only."""
        return replace(self, verdicts=tuple(each for each in self.verdicts if each.conversion in conversions))

    def wrong(self) -> Iterator[Verdict]:
        """The verdicts that are not true."""
        for each in self.verdicts:
            if self.example.refused is not None:
                right = each.verdict == REFUSED and self.example.refused in each.message
            else:
                right = each.verdict in self.example.right_verdicts(each.conversion, each.dtype)
            if not right:
                yield each


def run(
    examples: Sequence[Example],
    plan: Sequence[PlannedConversion] | Mapping[str, Sequence[PlannedConversion]],
    *,
    jobs: int = 1,
    preload: Sequence[str] = (),
    on_model: Callable[[Examined], None] = lambda _examined: None,
) -> list[Examined]:
    """Run every conversion on every model.

    Args:
        examples: The models.
        plan: The conversions, or those of each model by its name; what cannot run here is not tried.
        jobs: How many models are examined at once, each with one thread.
        preload: Modules that the servers import beside those that the plan needs.
        on_model: Called with each model as soon as it is done.
    """
    plans = plan if isinstance(plan, Mapping) else dict.fromkeys((each.name for each in examples), plan)
    planned = dict.fromkeys(chain.from_iterable(plans.values()))
    modules = tuple(dict.fromkeys((*modules_for(examples[0].spec, tuple(planned)), *preload)))
    waiting: Queue[tuple[int, Example]] = Queue()
    for numbered in enumerate(examples):
        waiting.put(numbered)
    done: dict[int, Examined] = {}
    with tempfile.TemporaryDirectory(prefix="corpus-") as name, ThreadPoolExecutor(jobs) as threads:

        def examine_waiting(number: int) -> None:
            directory = Path(name) / str(number)
            directory.mkdir()
            with Launcher(HardwareSpec("corpus", "cpu", threads=1), directory / "server.log", modules) as launcher:
                while True:
                    try:
                        index, example = waiting.get_nowait()
                    except Empty:
                        return
                    done[index] = _examine(example, plans[example.name], launcher, directory)
                    on_model(done[index])

        for future in [threads.submit(examine_waiting, number) for number in range(jobs)]:
            future.result()
    return [done[index] for index in sorted(done)]


def _examine(example: Example, plan: Sequence[PlannedConversion], launcher: Launcher, directory: Path) -> Examined:
    place = directory / example.name
    (place / "reference").mkdir(parents=True)
    task = WorkerTask(
        model=example.spec,
        hardware=launcher.hardware,
        measure=ONE_CALL,
        conversion=None,
        work_dir=str(place / "reference"),
        reference_path=str(place / "reference.pt"),
        # Compilers make a header that is the same for all models, and takes seconds.
        cache_dir=str(directory / "cache"),
        sys_path=(str(ROOT), *module_search_path()),
    )
    try:
        with closing(launcher.start(task)) as worker:
            info = reference_info(example.name, worker)
            worker.finish()
    except AlmaflowError as error:
        said = REFUSED if isinstance(error, UsageError) else NOT_PREPARED
        return Examined(
            example, tuple(Verdict(each.name, each.dtype, said, str(error)) for each in plan), None, str(error)
        )
    task = replace(task, weights_digest=info.weights_digest, traits=info.traits)
    verdicts = tuple(_verdict(planned, task, launcher, place) for planned in plan)
    shutil.rmtree(place, ignore_errors=True)
    return Examined(example, verdicts, info.traits)


def _verdict(planned: PlannedConversion, task: WorkerTask, launcher: Launcher, place: Path) -> Verdict:
    if planned.unavailable:
        return Verdict(planned.name, planned.dtype, "unavailable", planned.unavailable)
    directory = place / planned.name
    directory.mkdir()
    began = time.monotonic()
    with closing(launcher.start(replace(task, conversion=planned, work_dir=str(directory)))) as worker:
        worker.until_ready()
        exit_state = worker.finish()
    if keep := os.environ.get("CORPUS_LOGS"):
        shutil.copy(exit_state.log_path, Path(keep) / f"{task.model.name}--{planned.name}.log")
    shutil.rmtree(directory, ignore_errors=True)
    said, message, notes = _said(exit_state, planned)
    return Verdict(planned.name, planned.dtype, said, message, notes, round(time.monotonic() - began, 2))


def _said(exit_state: WorkerExit, planned: PlannedConversion) -> tuple[str, str, tuple[str, ...]]:
    result = exit_state.result
    notes = _notes(result.measurement, planned.dtype)
    if result.bad_input:
        return "error", result.bad_input, notes
    if result.failure:
        return str(result.failure.kind), result.failure.message, notes
    fidelity = result.measurement.fidelity if result.measurement else None
    return (OK_WITH_NOTE if notes else OK), f"{fidelity.sqnr_db:.0f} dB" if fidelity else "", notes


def _notes(measurement: Measurement | None, dtype: str) -> tuple[str, ...]:
    """What the user is told beside the verdict; that less than half of the weights are narrow is in a column."""
    if measurement is None:
        return ()
    share = measurement.narrow_weights_share
    few = dtype in ROUNDING and share is not None and share < HALF
    return (*measurement.notes, *((f"{share:.0%} of the weights are narrow",) if few else ()))
