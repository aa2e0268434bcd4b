"""All conversions of a job, measured: workers that take turns, in one fresh process after another.

A conversion is loaded, converted, checked and warmed up by itself; then it waits, and the rounds of timed calls are
taken in turns by all that wait. Eager and inductor, which the others are compared with, take part to the end.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from almaflow.analysis import EAGER, INDUCTOR
from almaflow.machine.monitor import StateWatch
from almaflow.measure.interleave import MeasuredWorker, take_rounds
from almaflow.measure.outcomes import log_name, outcome_of, with_states
from almaflow.processes.worker_handle import free_memory_mb
from almaflow.records import FailureKind, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from almaflow.measure.drift import DriftProbe
    from almaflow.processes.interrupts import Interrupts
    from almaflow.processes.launcher import Launcher
    from almaflow.processes.worker_handle import WorkerExit
    from almaflow.records import (
        HardwareSpec,
        Measurement,
        MeasureSpec,
        Outcome,
        PlannedConversion,
        WorkerTask,
    )
    from almaflow.report.progress import Progress

ANCHORS = (EAGER, INDUCTOR)

LEAST_FREE_MEMORY = 0.5
"""Of what is free at the start. With less than that, those that wait are measured and ended before another one starts,
so that a conversion's memory limit does not depend much on how many wait beside it."""


@dataclass
class ConversionRun:
    """One conversion of the plan, and what its processes have given so far."""

    planned: PlannedConversion
    directory: Path
    started_at: float = 0.0
    turns: MeasuredWorker | None = None
    """Of the process that runs now."""
    measurements: list[Measurement] = field(default_factory=list)
    """Of the processes that ended well."""
    outcome: Outcome | None = None
    """Set once it is known."""


@dataclass
class MeasurementLoop:
    """Measures the conversions of one job."""

    spec: MeasureSpec
    hardware: HardwareSpec
    launcher: Launcher
    control: DriftProbe
    task_of: Callable[[ConversionRun, int], WorkerTask]
    """The task of an entry's process, by replicate; the process's directory is there then."""
    ended: Callable[[ConversionRun, int], None]
    """Tidies up after an entry's process, whose replicate it is told."""
    done: Callable[[Sequence[ConversionRun]], None]
    """Is given entries as soon as their outcomes are known."""
    progress: Progress
    interrupts: Interrupts
    fail_fast: bool = False
    _waiting: list[ConversionRun] = field(default_factory=list, init=False)
    _anchors: list[ConversionRun] = field(default_factory=list, init=False)
    _round: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        """Look at the machine before anything runs."""
        self._free_mb = free_memory_mb()
        self._watch = StateWatch(self.hardware.device, self.hardware.cpus)

    def run(self, entries: Sequence[ConversionRun]) -> bool:
        """Measure them; False where an interrupt ended it, with what was measured by then kept.

        Raises:
            AlmaflowError: no process can be started any more; what was measured by then is kept.
        """
        try:
            with self.interrupts.let_through():
                self.control.at_start()
            for replicate in range(self.spec.replicates):
                self._one_process_each([entry for entry in entries if entry.outcome is None], replicate)
                if self.fail_fast and _failed(entries):
                    self._settle_measured(entries)
                    break
            with self.interrupts.let_through():
                self.control.at_end()
        except KeyboardInterrupt:
            self._give_up(entries)
            return False
        except BaseException:  # no further process can be started, or a fault of ours
            self._give_up(entries)
            raise
        finally:
            for entry in entries:
                if entry.turns:
                    entry.turns.worker.close()
        return True

    def _one_process_each(self, entries: Sequence[ConversionRun], replicate: int) -> None:
        for entry in entries:
            self._begin(entry, replicate)
            if self._waiting and self._full():
                self._take_turns(replicate)
            if self.fail_fast and (failed := _failed(entries)):
                self.progress.warn(f"fail_fast: stopped after {failed.planned.name} failed")
                break
        self._take_turns(replicate, last=True)

    def _full(self) -> bool:
        """As many wait as may, or as memory allows."""
        alive = len(self._waiting) + len(self._anchors)
        return alive >= self.spec.interleave or free_memory_mb() < LEAST_FREE_MEMORY * self._free_mb

    def _begin(self, entry: ConversionRun, replicate: int) -> None:
        """Start a process and wait until it is ready; one that failed has its outcome then."""
        ready = self._start(entry, replicate)
        beside_others = bool(self._waiting or self._anchors)
        if not ready and beside_others and self.spec.memory_limit_mb is None and _out_of_memory(entry):
            # Those that wait hold memory too; with nobody beside it, it may do.
            if entry.turns:
                entry.turns.worker.close()
            self.progress.warn(f"{entry.planned.name}: out of memory beside others, tried again alone")
            self._take_turns(replicate, last=True)
            self.ended(entry, replicate)
            ready = self._start(entry, replicate)
        if not ready:
            self._finish([entry], replicate)
        elif entry.planned.name in ANCHORS and self.spec.interleave > 1:
            self._anchors.append(entry)
        else:
            self._waiting.append(entry)

    def _start(self, entry: ConversionRun, replicate: int) -> bool:
        planned = entry.planned
        self.progress.phase(planned.name, "start")
        entry.started_at = entry.started_at or time.time()
        with self.interrupts.let_through():
            worker = self.launcher.start(
                self.task_of(entry, replicate), lambda phase: self.progress.phase(planned.name, phase)
            )
            entry.turns = MeasuredWorker(worker, self.spec)
            ready = entry.turns.begin()
        if ready:
            self.progress.ready(planned)
        return ready

    def _take_turns(self, replicate: int, *, last: bool = False) -> None:
        """All rounds of those that wait; their processes end with it, those of the anchors only with the last."""
        everybody = [*self._anchors, *self._waiting]
        if not everybody:
            return
        with self.interrupts.let_through():
            self._round = take_rounds(
                [entry.turns for entry in everybody if entry.turns],
                [entry.turns for entry in self._anchors if entry.turns],
                self._round,
                self._watch,
                self.progress.turns,
            )
        ending = [*self._anchors, *self._waiting] if last else self._waiting
        self._waiting = []
        if last:
            self._anchors = []
        self._finish(ending, replicate)

    def _finish(self, finished: Sequence[ConversionRun], replicate: int) -> None:
        """End the processes and take in what they left; after the last one, or a failure, that is the outcome."""
        try:
            for entry in finished:
                turns = entry.turns
                if turns is None:
                    continue
                with self.interrupts.let_through():
                    exit_state = turns.worker.finish()
                entry.turns = None
                self.ended(entry, replicate)
                measurement = with_states(exit_state.result.measurement, turns)
                last = replicate == self.spec.replicates - 1
                if exit_state.result.failure or exit_state.result.bad_input or last:
                    self._settle(entry, measurement, exit_state)
                elif measurement:
                    entry.measurements.append(measurement)
        finally:  # after an interrupt too
            self.done([entry for entry in finished if entry.outcome])

    def _settle_measured(self, entries: Iterable[ConversionRun]) -> None:
        """With ``fail_fast`` those that would have had further processes have their outcomes by the first ones."""
        measured = [entry for entry in entries if entry.outcome is None and entry.measurements]
        for entry in measured:
            self._settle(entry, None, None)
        self.done(measured)

    def _give_up(self, entries: Iterable[ConversionRun]) -> None:
        """What was measured and checked counts; what was under way is interrupted."""
        begun = [entry for entry in entries if entry.outcome is None and (entry.turns or entry.measurements)]
        for entry in begun:
            exit_state = measurement = None
            if entry.turns:
                entry.turns.worker.close()
                exit_state = entry.turns.worker.exit_state()
                # One that was not yet ready has not been found right.
                ready = bool(entry.turns.reports)
                measurement = with_states(exit_state.result.measurement, entry.turns) if ready else None
                entry.turns = None
                self.ended(entry, len(entry.measurements))
            self._settle(entry, measurement, exit_state, interrupted=True)
        self.done(begun)

    @staticmethod
    def _settle(
        entry: ConversionRun,
        measurement: Measurement | None,
        exit_state: WorkerExit | None,
        *,
        interrupted: bool = False,
    ) -> None:
        outcome = outcome_of(
            entry.planned, entry.started_at, entry.measurements, measurement, exit_state, interrupted=interrupted
        )
        # Of the process that ended it, or of the last one that ended well.
        number = len(entry.measurements) - (exit_state is None)
        entry.outcome = replace(outcome, log_path=str(entry.directory / log_name(max(number, 0))))


def _failed(entries: Iterable[ConversionRun]) -> ConversionRun | None:
    """The first one that failed."""
    return next((entry for entry in entries if entry.outcome and entry.outcome.status is Status.FAILED), None)


def _out_of_memory(entry: ConversionRun) -> bool:
    failure = entry.turns.worker.exit_state().result.failure if entry.turns else None
    return failure is not None and failure.kind is FailureKind.OUT_OF_MEMORY
