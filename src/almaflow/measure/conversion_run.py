"""One conversion while it is measured: its process of now, what earlier ones gave, and in the end its outcome."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from almaflow.measure.outcomes import outcome_of, with_states
from almaflow.measure.work_directory import end_work_directory, log_name
from almaflow.records import FailureKind, Status

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.measure.interleave import MeasuredWorker
    from almaflow.processes.worker_handle import WorkerExit
    from almaflow.records import Measurement, Outcome, PlannedConversion


@dataclass(eq=False)
class ConversionRun:
    """One conversion of the plan, and what its processes have given so far."""

    planned: PlannedConversion
    directory: Path
    started_at: float = 0.0
    """When its first process was started, in seconds since the epoch."""
    worker: MeasuredWorker | None = None
    """The process that runs now."""
    measurements: list[Measurement] = field(default_factory=list)
    """One from each process that ended well."""
    outcome: Outcome | None = None
    """Set once it is known."""
    _ended: int | None = field(default=None, init=False)
    """The number of the process that ended last, whose directory is still there."""

    @property
    def failed(self) -> bool:
        """Whether its outcome is known to be a failure."""
        return self.outcome is not None and self.outcome.status is Status.FAILED

    @property
    def out_of_memory(self) -> bool:
        """Whether its process of now was ended for want of memory."""
        failure = self.worker.handle.exit_state().result.failure if self.worker else None
        return failure is not None and failure.kind is FailureKind.OUT_OF_MEMORY

    def close(self) -> None:
        """End its process, if one runs."""
        if self.worker:
            self.worker.handle.close()

    def take_in(self, exit_state: WorkerExit, replicate: int, *, last: bool) -> None:
        """Take in what an ended process left; after the last process, or a failure, that is the outcome."""
        measurement = self._end_worker(exit_state, replicate)
        if exit_state.result.failure or exit_state.result.bad_input or last:
            self.settle(measurement, exit_state)
        elif measurement:
            self.measurements.append(measurement)

    def so_far(self) -> Outcome:
        """Return the outcome that it has if nothing more is measured: what its processes gave is not all."""
        return self._outcome(None, None, interrupted=True)

    def give_up(self, replicates: int, *, no_verdict: bool = False) -> None:
        """End its process: it is interrupted, unless the last of its processes has finished.

        Args:
            replicates: How many processes it has.
            no_verdict: How its process has failed says nothing of the conversion.
        """
        exit_state = measurement = None
        whole = False
        if self.worker:
            self.close()
            exit_state = self.worker.handle.exit_state()
            if no_verdict:
                exit_state = replace(exit_state, result=replace(exit_state.result, failure=None, finished=False))
            ready = bool(self.worker.reports)
            whole = exit_state.result.finished and len(self.measurements) + 1 == replicates
            measurement = self._end_worker(exit_state, len(self.measurements))
            if not ready:  # it has not been found right
                measurement = None
        self.settle(measurement, exit_state, interrupted=not whole)

    def settle(
        self, measurement: Measurement | None, exit_state: WorkerExit | None, *, interrupted: bool = False
    ) -> None:
        """Set the outcome, from the last process beside those that ended well."""
        self.outcome = self._outcome(measurement, exit_state, interrupted=interrupted)

    def _outcome(self, measurement: Measurement | None, exit_state: WorkerExit | None, *, interrupted: bool) -> Outcome:
        outcome = outcome_of(
            self.planned, self.started_at, self.measurements, measurement, exit_state, interrupted=interrupted
        )
        # The log of the process that ended it, or of the last one that ended well.
        number = len(self.measurements) - (exit_state is None)
        return replace(outcome, log_path=str(self.directory / log_name(max(number, 0))))

    def tidy(self) -> None:
        """Keep the log of the process that ended last, and remove the rest of its directory.

        The directory has what was measured, so that it goes only once that is kept elsewhere on disk.
        """
        if self._ended is not None:
            end_work_directory(self.directory, self._ended)

    def _end_worker(self, exit_state: WorkerExit, replicate: int) -> Measurement | None:
        measurement = with_states(exit_state.result.measurement, self.worker) if self.worker else None
        self.worker = None
        self._ended = replicate
        return measurement
