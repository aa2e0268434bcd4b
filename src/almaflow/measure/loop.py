"""Measures all conversions of a job by workers that take turns, in one fresh process after another.

Conversions are loaded, converted and checked side by side (``measure/preparing.py``). When nobody is prepared any more,
they warm up one after the other. Then all take their rounds of timed calls in turns. Eager and inductor, which the
others are compared with, take part to the end.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from almaflow.machine.cpus import usable_cores
from almaflow.measure.interleave import GAP_S, MeasuredWorker, take_rounds
from almaflow.measure.keeping import Keeping
from almaflow.measure.places import Places
from almaflow.measure.preparing import compile_jobs
from almaflow.measure.work_directory import end_work_directory, make_work_directory
from almaflow.processes.watching import wait_for_any
from almaflow.processes.worker_handle import free_memory_mb
from almaflow.records.clock import now

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from almaflow.machine.monitor import StateWatch
    from almaflow.measure.conversion_run import ConversionRun
    from almaflow.measure.drift import DriftProbe
    from almaflow.measure.preparing import Wait
    from almaflow.measure.progress import Progress
    from almaflow.processes.interrupts import Interrupts
    from almaflow.processes.launcher import Launcher
    from almaflow.processes.worker_handle import WorkerExit
    from almaflow.records import WorkerTask


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
    keeping: Keeping = field(default_factory=Keeping)
    """Decides which workers write their converted models."""
    free_memory_mb: Callable[[], float] = free_memory_mb
    wait: Wait = wait_for_any
    gap_s: float = GAP_S
    interrupted: bool = field(default=False, init=False)
    """Whether the user or a signal ended it; what was measured by then was given."""
    _alone: list[ConversionRun] = field(default_factory=list, init=False)
    """Those that had too little memory beside others that wait: they come when all others are measured."""
    _round: int = field(default=1, init=False)
    _stop: BaseException | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Look at the memory before anything runs."""
        self._spec = self.task.measure
        self._places = Places(self._spec, self.free_memory_mb, self.wait)

    def run(self, runs: Sequence[ConversionRun]) -> Generator[Sequence[ConversionRun]]:
        """Measure them, and yield those whose outcomes have become known, or of which a process has ended well.

        They are to be kept on disk, and then tidied, before the next are asked for.

        Raises:
            AlmaflowError: no process can be started any more; what was measured by then was yielded.
        """
        jobs = compile_jobs(self._spec, len(runs), usable_cores(self.task.hardware.cpus))
        self.task = replace(self.task, compile_jobs=jobs)
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
        pending = deque(runs)
        while pending or self._alone:
            if pending:
                yield from self._prepare(pending, replicate)
            else:  # last, since eager and inductor have to end for it
                yield from self._take_turns(replicate, last=True)
                self._start(self._alone.pop(0), replicate)
                yield from self._prepare(pending, replicate)
            self._places.prepared.sort(key=runs.index)  # whichever was prepared first
            yield from self._warm_up(replicate)
            if self._places.waiting and self._places.full:
                yield from self._take_turns(replicate)
            if failed := self._failed_fast(runs):
                self.progress.warn(f"fail_fast: stopped after {failed} failed")
                break
        yield from self._take_turns(replicate, last=True)

    def _failed_fast(self, runs: Iterable[ConversionRun]) -> str | None:
        return next((run.planned.name for run in runs if run.failed), None) if self.fail_fast else None

    def _prepare(self, pending: deque[ConversionRun], replicate: int) -> Iterator[Sequence[ConversionRun]]:
        """Prepare as many as may wait, side by side; those that failed have their outcomes then."""
        preparing = self._places.preparing
        begun: list[ConversionRun] = []
        while True:
            while pending and not self._failed_fast(begun) and self._places.may_start(pending[0]):
                begun.append(pending.popleft())
                self._start(begun[-1], replicate)
            if not len(preparing):
                return
            with self.interrupts.let_through():
                found, again = preparing.next_ones()
            for run in again:
                self._put_back(run, replicate, "to be prepared again by itself")
                pending.appendleft(run)
            for run in found:
                if run.worker and run.worker.handle.running:
                    self._places.prepared.append(run)
                    self.progress.ready(run.planned)
                else:
                    yield from self._ended_early(run, replicate)

    def _start(self, run: ConversionRun, replicate: int) -> None:
        """Start a process, which begins to prepare."""
        planned = run.planned
        self.progress.phase(planned.name, "start")
        run.started_at = run.started_at or now()
        with self.interrupts.let_through():
            handle = self.launcher.start(
                self._task_of(run, replicate), lambda phase: self.progress.phase(planned.name, phase)
            )
            run.worker = MeasuredWorker(handle, self._spec, self.gap_s)
            self._places.preparing.add(run, handle)

    def _ended_early(self, run: ConversionRun, replicate: int) -> Iterator[Sequence[ConversionRun]]:
        """Take in one whose process ended before its first round was over, unless it is to be tried again."""
        beside_others = bool(self._places.prepared or self._places.waiting or self._places.anchors)
        if beside_others and self._spec.memory_limit_mb is None and run.out_of_memory:
            # Those that wait hold memory too; with nobody beside it, it may do.
            self._put_back(run, replicate, "tried again alone")
            self._alone.append(run)
        else:
            yield from self._finish([run], replicate)

    def _put_back(self, run: ConversionRun, replicate: int, what_next: str) -> None:
        """End its process for good: it gets another one, as if this one had not been."""
        self.progress.warn(f"{run.planned.name}: out of memory beside others, {what_next}")
        self.progress.put_back(run.planned)
        run.close()
        run.worker = None
        end_work_directory(run.directory, replicate)

    def _warm_up(self, replicate: int) -> Iterator[Sequence[ConversionRun]]:
        """Let those that are prepared warm up and take their first round, each while nothing else runs."""
        while self._places.prepared:
            run = self._places.prepared.pop(0)
            with self.interrupts.let_through():
                ready = run.worker is not None and run.worker.begin()
            if ready:
                self._places.add_warm(run)
            else:
                yield from self._ended_early(run, replicate)

    def _task_of(self, run: ConversionRun, replicate: int) -> WorkerTask:
        """The task of one process, whose directory is made for it."""
        return replace(
            self.task,
            conversion=run.planned,
            work_dir=str(make_work_directory(run.directory)),
            replicate=self.task.replicate + replicate,
            evaluate=None if replicate else self.task.evaluate,  # once
            # Later processes of the same conversion use what the first one compiled: they are for the timed calls.
            cache_dir=str(run.directory / "cache") if self._spec.replicates > 1 else None,
        )

    def _take_turns(self, replicate: int, *, last: bool = False) -> Iterator[Sequence[ConversionRun]]:
        """Take all rounds of those that wait; their processes end with it, the anchors' only with the last rounds."""
        waiting, anchors = self._places.waiting, self._places.anchors
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
        self._places.waiting = []
        if last:
            self._places.anchors = []
        yield from self._finish([*anchors, *waiting] if last else waiting, replicate)

    def _finish(self, runs: Sequence[ConversionRun], replicate: int) -> Iterator[Sequence[ConversionRun]]:
        """End the processes and take in what they left; after the last one, or a failure, that is the outcome.

        What they do at their end, such as looking once more at what ran, they do side by side: nothing is timed then.
        One that may have to write its model waits for those before it: whether it has to depends on them.
        """
        ending = [run for run in self.keeping.in_order(runs) if run.worker]
        last = replicate == self._spec.replicates - 1
        try:
            for number, run in enumerate(ending):
                keep = last and self.keeping.wants(run)
                beside = ending[number + 1 : number + self._spec.prepare_jobs]
                with self.interrupts.let_through():
                    exit_state = _end_first(run, [each for each in beside if self._may_end(each, last=last)], keep=keep)
                run.take_in(exit_state, replicate, last=last)
                self.keeping.learn(run)
        finally:  # what is known is given after an interrupt too
            yield from self._give(runs)

    def _may_end(self, run: ConversionRun, *, last: bool) -> bool:
        """Whether it may end beside others: it has no model to write, no GPU to share, and nothing to evaluate.

        Evaluations call models on all threads; two at a time took more than one after the other.
        """
        return run.planned.device == "cpu" and self.task.evaluate is None and not (last and self.keeping.wants(run))

    def _give_up(self, runs: Iterable[ConversionRun]) -> Iterator[Sequence[ConversionRun]]:
        """End everything: what has all that was asked for counts, what was under way is interrupted."""
        begun = [run for run in runs if run.outcome is None and (run.worker or run.measurements)]
        # Those that need no more still look at what really ran. Another interrupt does not wait for it.
        with suppress(KeyboardInterrupt):
            for run in begun:
                if not (run.worker and run.worker.done):
                    continue
                last = len(run.measurements) + 1 == self._spec.replicates
                keep = last and not self.keeping.only_best and self.keeping.wants(run)
                with self.interrupts.let_through():
                    run.worker.handle.finish(keep=keep, evaluate=False)
        for run in begun:
            run.give_up(self._spec.replicates, no_verdict=self._places.preparing.no_verdict(run))
        yield from self._give(begun)


def _end_first(run: ConversionRun, beside: Sequence[ConversionRun], *, keep: bool) -> WorkerExit:
    """Let all finish, and wait for the first one, which writes its model if it is to."""
    assert run.worker is not None  # noqa: S101 - only those that have one end
    handle = run.worker.handle
    handle.ask_to_finish(keep=keep)
    others = [each.worker.handle for each in beside if each.worker]
    for other in others:
        other.ask_to_finish()
    return handle.finish(keep=keep, beside=others)
