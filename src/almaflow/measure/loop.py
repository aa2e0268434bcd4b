"""Measures all conversions of a job by workers that take turns, in one fresh process after another.

A conversion is loaded, converted, checked and warmed up by itself. Then it waits, and all that wait take their rounds
of timed calls in turns. Eager and inductor, which the others are compared with, take part to the end.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from almaflow.measure.interleave import GAP_S, MeasuredWorker, take_rounds
from almaflow.measure.work_directory import end_work_directory, make_work_directory
from almaflow.processes.worker_handle import free_memory_mb
from almaflow.records.clock import now
from almaflow.records.plan import EAGER, INDUCTOR

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from almaflow.machine.monitor import StateWatch
    from almaflow.measure.conversion_run import ConversionRun
    from almaflow.measure.drift import DriftProbe
    from almaflow.measure.progress import Progress
    from almaflow.processes.interrupts import Interrupts
    from almaflow.processes.launcher import Launcher
    from almaflow.records import WorkerTask

ANCHORS = (EAGER, INDUCTOR)

LEAST_FREE_MEMORY = 0.5
"""Share of the memory that was free at the start. With less than that, those that wait are measured and ended before
another one starts, so that a conversion's memory limit does not depend much on how many wait beside it."""


@dataclass
class MeasurementLoop:
    """Measures the conversions of one job, and gives each as soon as its outcome is known."""

    task: WorkerTask
    """What every worker is told; conversion, directory and number of the process are filled in for each."""
    launcher: Launcher
    probe: DriftProbe
    monitor: StateWatch
    progress: Progress
    interrupts: Interrupts
    fail_fast: bool = False
    free_memory_mb: Callable[[], float] = free_memory_mb
    gap_s: float = GAP_S
    interrupted: bool = field(default=False, init=False)
    """Whether the user or a signal ended it; what was measured by then was given."""
    _waiting: list[ConversionRun] = field(default_factory=list, init=False)
    _anchors: list[ConversionRun] = field(default_factory=list, init=False)
    _round: int = field(default=1, init=False)
    _stop: BaseException | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Look at the memory before anything runs."""
        self._spec = self.task.measure
        self._free_mb = self.free_memory_mb()

    def run(self, runs: Sequence[ConversionRun]) -> Generator[Sequence[ConversionRun]]:
        """Measure them, and yield those whose outcomes have become known, or of which a process has ended well.

        They are to be kept on disk, and then tidied, before the next are asked for.

        Raises:
            AlmaflowError: no process can be started any more; what was measured by then was yielded.
        """
        try:
            with self.interrupts.let_through():
                self.probe.at_start()
            for replicate in range(self._spec.replicates):
                yield from self._one_process_each([run for run in runs if run.outcome is None], replicate)
                if self.fail_fast and any(run.failed for run in runs):
                    yield from self._give_up(runs)  # those that would have had further processes
                    break
            with self.interrupts.let_through():
                self.probe.at_end()
        except GeneratorExit:  # nobody listens any more
            raise
        except KeyboardInterrupt:
            self.interrupted = True
            yield from self._give_up(runs)
        except BaseException:  # no further process can be started, a full disk, or a fault of ours
            yield from self._give_up(runs)
            raise
        finally:
            for run in runs:
                run.close()

    def stop(self, error: BaseException) -> None:
        """End what runs as soon as ``run`` goes on, give what was measured, and raise the error there."""
        self._stop = error

    def _give(self, runs: Iterable[ConversionRun]) -> Iterator[Sequence[ConversionRun]]:
        if known := [run for run in runs if run.outcome or (run.measurements and not run.worker)]:
            yield known
        stop, self._stop = self._stop, None
        if stop:
            raise stop

    def _one_process_each(self, runs: Sequence[ConversionRun], replicate: int) -> Iterator[Sequence[ConversionRun]]:
        for run in runs:
            yield from self._begin(run, replicate)
            if self._waiting and self._full():
                yield from self._take_turns(replicate)
            if self.fail_fast and (failed := [run.planned.name for run in runs if run.failed]):
                self.progress.warn(f"fail_fast: stopped after {failed[0]} failed")
                break
        yield from self._take_turns(replicate, last=True)

    def _full(self) -> bool:
        """Whether no further one may wait, by number or by memory."""
        alive = len(self._waiting) + len(self._anchors)
        return alive >= self._spec.interleave or self.free_memory_mb() < LEAST_FREE_MEMORY * self._free_mb

    def _begin(self, run: ConversionRun, replicate: int) -> Iterator[Sequence[ConversionRun]]:
        """Start a process and wait until it is ready; one that failed has its outcome then."""
        ready = self._start(run, replicate)
        beside_others = bool(self._waiting or self._anchors)
        if not ready and beside_others and self._spec.memory_limit_mb is None and run.out_of_memory:
            # Those that wait hold memory too; with nobody beside it, it may do.
            run.close()
            self.progress.warn(f"{run.planned.name}: out of memory beside others, tried again alone")
            yield from self._take_turns(replicate, last=True)
            end_work_directory(run.directory, replicate)
            ready = self._start(run, replicate)
        if not ready:
            yield from self._finish([run], replicate)
        elif run.planned.name in ANCHORS and self._spec.interleave > 1:
            self._anchors.append(run)
        else:
            self._waiting.append(run)

    def _start(self, run: ConversionRun, replicate: int) -> bool:
        planned = run.planned
        self.progress.phase(planned.name, "start")
        run.started_at = run.started_at or now()
        with self.interrupts.let_through():
            handle = self.launcher.start(
                self._task_of(run, replicate), lambda phase: self.progress.phase(planned.name, phase)
            )
            run.worker = MeasuredWorker(handle, self._spec, self.gap_s)
            ready = run.worker.begin()
        if ready:
            self.progress.ready(planned)
        return ready

    def _task_of(self, run: ConversionRun, replicate: int) -> WorkerTask:
        """The task of one process, whose directory is made for it."""
        return replace(
            self.task,
            conversion=run.planned,
            work_dir=str(make_work_directory(run.directory)),
            replicate=self.task.replicate + replicate,
            # Later processes of the same conversion use what the first one compiled: they are for the timed calls.
            cache_dir=str(run.directory / "cache") if self._spec.replicates > 1 else None,
        )

    def _take_turns(self, replicate: int, *, last: bool = False) -> Iterator[Sequence[ConversionRun]]:
        """Take all rounds of those that wait; their processes end with it, the anchors' only with the last rounds."""
        waiting, anchors = self._waiting, self._anchors
        if not waiting and not anchors:
            return
        with self.interrupts.let_through():
            self._round = take_rounds(
                [run.worker for run in (*anchors, *waiting) if run.worker],
                [run.worker for run in anchors if run.worker],
                self._round,
                self.monitor,
                self.progress.turns,
            )
        self._waiting = []
        if last:
            self._anchors = []
        yield from self._finish([*anchors, *waiting] if last else waiting, replicate)

    def _finish(self, runs: Sequence[ConversionRun], replicate: int) -> Iterator[Sequence[ConversionRun]]:
        """End the processes and take in what they left; after the last one, or a failure, that is the outcome."""
        try:
            for run in runs:
                if run.worker is None:
                    continue
                with self.interrupts.let_through():
                    exit_state = run.worker.handle.finish()
                run.take_in(exit_state, replicate, last=replicate == self._spec.replicates - 1)
        finally:  # what is known is given after an interrupt too
            yield from self._give(runs)

    def _give_up(self, runs: Iterable[ConversionRun]) -> Iterator[Sequence[ConversionRun]]:
        """End everything: what has all that was asked for counts, what was under way is interrupted."""
        begun = [run for run in runs if run.outcome is None and (run.worker or run.measurements)]
        # Those that need no more still look at what really ran. Another interrupt does not wait for it.
        with suppress(KeyboardInterrupt):
            for worker in [run.worker for run in begun if run.worker and run.worker.done]:
                with self.interrupts.let_through():
                    worker.handle.finish()
        for run in begun:
            run.give_up(self._spec.replicates)
        yield from self._give(begun)
