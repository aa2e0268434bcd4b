"""The parent's handle of one worker: it gives the worker its rounds, and ends one that breaks a limit.

``processes/watching.py`` waits for workers, and has each looked at a few times a second meanwhile.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from almaflow.processes.ends import failure_of_end
from almaflow.processes.memory import TreeMemory
from almaflow.processes.sessions import end_session
from almaflow.processes.watching import wait_for_any
from almaflow.processes.worker_result import read_result
from almaflow.processes.working_time import WorkingTime
from almaflow.records import Failure, FailureKind, Measurement, WorkerResult, WorkerTask
from almaflow.records.protocol import (
    EVALUATE,
    KEEPING,
    PREPARING,
    SHOWING,
    EventReader,
    RoundReport,
    RoundRequest,
    request_line,
    round_request,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from almaflow.processes.logs import BoundedLog
    from almaflow.processes.process import Forked

DEFAULT_MEMORY_SHARE = 0.9
"""Share of the memory that is free when a worker starts: beyond it the kernel would kill somebody, maybe the parent."""

TERMINATE_GRACE_S = 2.0


@dataclass(frozen=True)
class WorkerExit:
    """A worker's result, log and last phase."""

    result: WorkerResult
    log_path: Path
    phase: str


class WorkerHandle:
    """A running worker, which has to be closed, whatever happens; that ends one that still runs."""

    def __init__(  # noqa: PLR0913, PLR0917 - all that a worker is given
        self,
        process: Forked,
        task: WorkerTask,
        events: int,
        requests: int,
        log: BoundedLog,
        on_phase: Callable[[str], None],
    ) -> None:
        """Take over the log and both pipes: events come on one, requests for rounds go on the other."""
        self.process = process
        self.task = task
        self.phase = "start"
        self._log = log
        limit_mb = task.measure.memory_limit_mb or free_memory_mb() * DEFAULT_MEMORY_SHARE
        self._memory = TreeMemory(process.pid, limit_mb)
        self.report: RoundReport | None = None
        self._ready = False
        self._failure: Failure | None = None
        self._code: int | None = None
        self._time = WorkingTime(process.pid, task.measure.time_budget_s)
        self._requests = requests
        self._reader = EventReader()
        self.on_phase = on_phase
        self.pipe: int | None = events
        """The descriptor on which the worker's events come; None once either side has closed it."""
        self._events = events
        os.set_blocking(events, False)
        self._closed = False

    @property
    def running(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return self._code is None and self._failure is None and not self._closed

    @property
    def prepared(self) -> bool:
        """Whether it waits for its first round, or for a further one."""
        return self._ready or self.phase == "prepared"

    @property
    def memory_mb(self) -> float:
        """Its memory and that of all that it has started, in MB (10^6 bytes), at the last look."""
        return self._memory.mb

    def until_ready(self) -> bool:
        """Wait until the worker is ready for a further round; False where it has ended instead.

        One that is prepared warms up, and takes its first round, before it is ready.
        """
        self._wait(lambda: self.prepared)
        if not self._ready and self.running:
            self._tell(round_request(self.task.measure, 0))
            self._wait(lambda: self._ready)
        return self._ready and self.running

    def turn(self, request: RoundRequest) -> RoundReport | None:
        """Let the worker take a round; None where it ended instead."""
        self._tell(request)
        return self.report if self.until_ready() else None

    @property
    def stops_s(self) -> tuple[float, ...]:
        """Seconds of each stop of the worker, from outside, since it was last waited for."""
        return tuple(self._time.stops.stops_s)

    def ask_to_finish(self, *, keep: bool = False) -> None:
        """Let a worker that is ready finish, without waiting for it.

        Args:
            keep: Whether it writes its converted model to its directory before.
        """
        if self._ready:
            self._tell(None, keep=keep)

    def finish(self, *, keep: bool = False, evaluate: bool = True, beside: Sequence[WorkerHandle] = ()) -> WorkerExit:
        """Let a worker finish, wait for its end, and read its result.

        One that is in a round, as after an interrupt, ends that first.

        Args:
            keep: Whether it writes its converted model to its directory before.
            evaluate: Whether to wait for an evaluation too; else it is ended as soon as all else is done.
            beside: Others that finish meanwhile, whose limits are heeded too.
        """

        def enough() -> bool:
            return self._ready or (self.phase == EVALUATE and not evaluate)

        self.ask_to_finish(keep=keep)
        self._wait(enough, beside)
        self.ask_to_finish(keep=keep)
        self._wait(enough, beside)
        self.close()
        return self.exit_state()

    def exit_state(self) -> WorkerExit:
        """The result so far, and after the worker's end also how it ended."""
        directory = Path(self.task.work_dir)
        result = read_result(directory)
        failure = self._failure
        if failure is None and self._code:
            failure = failure_of_end(self._code, self.phase, directory, self._memory.mb)
        elif failure is None and self._code == 0 and not result.finished:
            failure = Failure(FailureKind.CRASHED, "the worker ended without a result", self.phase)
        if self.phase == EVALUATE and result.measurement and not result.finished:
            # What was timed is whole by then, whatever ends the evaluation.
            why = failure.message if failure else "ended before it was evaluated"
            result = replace(result, finished=True, measurement=replace(result.measurement, quality_error=why))
        elif self.phase == SHOWING and result.measurement:
            result = replace(result, finished=True)
        elif self.phase == KEEPING and result.measurement and (failure or not result.finished):
            measurement = _not_written(result.measurement, failure)
            if self.task.evaluate and not result.finished:
                measurement = replace(measurement, quality_error="the worker ended while the model was written")
            result = replace(result, measurement=measurement, finished=True)
        elif failure is not None:
            result = replace(result, failure=failure)
        if result.measurement:
            result = replace(result, measurement=self._seen_from_here(result.measurement))
        return WorkerExit(result, directory / "worker.log", self.phase)

    def close(self) -> None:
        """End the worker and everything in its session, if it still runs. May be called again."""
        if self._closed:
            return
        end_session(self.process, TERMINATE_GRACE_S)
        self._closed, self.pipe = True, None
        os.close(self._events)
        os.close(self._requests)
        self._log.close()

    def _tell(self, request: RoundRequest | None, *, keep: bool = False) -> None:
        self._ready = False
        with contextlib.suppress(OSError):  # it has ended, or closed its standard input
            os.write(self._requests, request_line(request, keep=keep))

    def _wait(self, enough: Callable[[], bool], beside: Sequence[WorkerHandle] = ()) -> None:
        """Wait until ``enough`` says so or the worker has ended; look at others meanwhile."""
        while self.running and not enough():
            wait_for_any([self, *(each for each in beside if each.running)], lambda each: each is self and enough())

    def attend(self) -> None:
        """Begin a series of looks: the time until the first of them counts, what was before does not."""
        self._time.resume()

    def has_ended(self) -> bool:
        """Whether its process has ended; asked before each look, so that its last event is not missed."""
        self._code = self.process.poll()
        return self._code is not None

    def look(self, late_s: float, *, beside: int) -> None:
        """Hear what the worker says, and end it where it breaks a limit.

        Args:
            late_s: Seconds by which the parent woke up later than it had asked for.
            beside: The number of workers that work at the same time.
        """
        preparing = self.phase in PREPARING
        self._listen()
        self._time.look(late_s, beside=beside, preparing=preparing)
        if self._code is None:
            self._log.trim()
            self._heed_limits()

    def _heed_limits(self) -> None:
        memory, budget_s = self._memory, self.task.measure.time_budget_s
        if memory.over_limit(self.phase):
            helpers = f", {memory.helpers_mb:.0f} MB of it in processes it started," if memory.helpers_mb else ""
            message = f"used {memory.mb:.0f} MB{helpers} of the {memory.limit_mb:.0f} MB it may use"
            self.end(FailureKind.OUT_OF_MEMORY, message)
        elif self._time.left_s < 0:
            message = f"not done within measure.time_budget_s={budget_s:g}, ended while in phase '{self.phase}'"
            self.end(FailureKind.TIMEOUT, message)
        elif self._time.stops.held_s > budget_s:
            message = f"stopped by a signal for {self._time.stops.held_s:.0f} s; let it run and go on with resume=true"
            self.end(FailureKind.MACHINE, message)

    def end(self, kind: FailureKind, message: str) -> None:
        """End the worker, which has failed in this way."""
        self._failure = Failure(kind, message, self.phase)
        end_session(self.process, TERMINATE_GRACE_S)

    def _listen(self) -> None:
        """Read what the worker has said, or that its pipe has been closed."""
        if self.pipe is None:
            return
        try:
            data = os.read(self.pipe, 65536)
        except BlockingIOError:  # it has said nothing
            return
        for event in self._reader.feed(data):
            self.phase, self._ready = event.phase, event.phase == "ready"
            self.report = event.report or self.report
            self.on_phase(event.phase)
        if not data:
            # Converted code may close descriptors that it does not own, so a closed pipe is not yet the end.
            # Such a worker cannot be directed any more, and may finish.
            self.pipe = None
            self._tell(None)

    def _seen_from_here(self, measurement: Measurement) -> Measurement:
        """Add what only the parent knows: the memory of helpers, which were left running, who prepared beside it."""
        peaks = [mb for mb in (measurement.peak_memory_mb, self._memory.peak_mb) if mb is not None]
        left = ", ".join(self.process.left_running())
        notes = (f"left processes running, which were ended: {left}",) if left else ()
        return replace(
            measurement,
            peak_memory_mb=max(peaks, default=None),
            prepared_beside=self._time.prepared_beside,
            notes=measurement.notes + notes,
        )


def _not_written(measurement: Measurement, failure: Failure | None) -> Measurement:
    """All was measured before a worker writes its model: how it ended then says nothing about the conversion."""
    why = failure.message if failure else "it was ended before the model was written"
    return measurement if measurement.export_mb is not None else replace(measurement, not_kept=why)


def free_memory_mb() -> float:
    """Memory that processes can still get, in MB (10^6 bytes)."""
    return float(psutil.virtual_memory().available) / 1e6
