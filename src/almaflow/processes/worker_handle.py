"""The parent's handle of one worker: it gives the worker its rounds, and ends one that breaks a limit.

The parent sleeps in ``select`` while a worker measures, and wakes a few times a second to look at the clock and at the
worker's memory.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cattrs
import psutil

from almaflow.processes.process import Process, end_session
from almaflow.records import Failure, FailureKind, WorkerResult, WorkerTask, read_json
from almaflow.records.protocol import EventReader, RoundReport, RoundRequest, request_line
from almaflow.secrets import mask

if TYPE_CHECKING:
    from collections.abc import Callable

WATCH_INTERVAL_S = 0.2
"""Seconds between two looks at the clock and at the worker's memory: rare enough not to disturb the worker."""

ENDING_INTERVAL_S = 0.02
"""Seconds between two looks once the worker has closed its pipe, which it does by ending."""

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
    """A running worker, which has to be closed, whatever happens; that ends one that still runs.

    The time budget counts only while somebody waits for the worker, not while others take rounds.
    """

    def __init__(
        self,
        process: Process,
        task: WorkerTask,
        events: int,
        requests: int,
        on_phase: Callable[[str], None],
    ) -> None:
        """Take over the descriptors of both pipes: events come on one, requests for rounds go on the other."""
        self.process = process
        self.task = task
        self.phase = "start"
        self.memory_mb = 0.0
        self.memory_limit_mb = task.measure.memory_limit_mb or free_memory_mb() * DEFAULT_MEMORY_SHARE
        self.report: RoundReport | None = None
        self._ready = False
        self._failure: Failure | None = None
        self._code: int | None = None
        self._budget_s = task.measure.time_budget_s
        self._requests = requests
        self._reader = EventReader()
        self.on_phase = on_phase
        self._events: int | None = events
        self._selector = selectors.DefaultSelector()
        self._selector.register(events, selectors.EVENT_READ)

    def until_ready(self) -> bool:
        """Wait until the worker is ready for a round; False where it has ended instead."""
        self._wait(lambda: self._ready)
        return self._ready and self._running()

    def turn(self, request: RoundRequest) -> RoundReport | None:
        """Let the worker take a round; None where it ended instead."""
        self._tell(request)
        return self.report if self.until_ready() else None

    def finish(self) -> WorkerExit:
        """Let a worker that is ready finish, wait for its end, and read its result."""
        if self._ready:
            self._tell(None)
        self._wait(lambda: False)
        self.close()
        return self.exit_state()

    def exit_state(self) -> WorkerExit:
        """The result so far, and after the worker's end also how it ended."""
        directory = Path(self.task.work_dir)
        result = _read_result(directory)
        failure = self._failure
        if failure is None and self._code:
            failure = self._crash(self._code)
        elif failure is None and self._code == 0 and not result.finished:
            failure = Failure(FailureKind.CRASHED, "the worker ended without a result", self.phase)
        if failure is not None:
            result = replace(result, failure=failure)
        return WorkerExit(result, directory / "worker.log", self.phase)

    def close(self) -> None:
        """End the worker and everything in its session, if it still runs. May be called again."""
        if self._events is None:
            return
        end_session(self.process, TERMINATE_GRACE_S)
        self._selector.close()
        os.close(self._events)
        os.close(self._requests)
        self._events = None

    def _tell(self, request: RoundRequest | None) -> None:
        self._ready = False
        with contextlib.suppress(OSError):  # it has ended, or closed its standard input
            os.write(self._requests, request_line(request))

    def _wait(self, enough: Callable[[], bool]) -> None:
        """Wait until ``enough`` says so or the worker has ended, by itself or for a limit that it breaks."""
        began = time.monotonic()
        deadline = began + self._budget_s
        while self._running() and not enough():
            # Looked at before the pipe is read, so that the last event of a worker is not missed.
            self._code = self.process.poll()
            self._listen(0.0 if self._code is not None else WATCH_INTERVAL_S)
            if self._code is not None:
                break
            if self._over_memory():
                message = f"used {self.memory_mb:.0f} MB of the {self.memory_limit_mb:.0f} MB it may use"
                self._end(FailureKind.OUT_OF_MEMORY, message)
            elif time.monotonic() > deadline:
                budget_s = self.task.measure.time_budget_s
                message = f"not done within measure.time_budget_s={budget_s:g}, ended while in phase '{self.phase}'"
                self._end(FailureKind.TIMEOUT, message)
        self._budget_s -= time.monotonic() - began

    def _running(self) -> bool:
        return self._code is None and self._failure is None and self._events is not None

    def _end(self, kind: FailureKind, message: str) -> None:
        self._failure = Failure(kind, message, self.phase)
        end_session(self.process, TERMINATE_GRACE_S)

    def _listen(self, timeout_s: float) -> None:
        """Wait for events of the worker, or for its pipe to close."""
        if not self._selector.get_map():
            time.sleep(min(timeout_s, ENDING_INTERVAL_S))
        elif self._events is not None and self._selector.select(timeout_s):
            data = os.read(self._events, 65536)
            for event in self._reader.feed(data):
                self.phase, self._ready = event.phase, event.phase == "ready"
                self.report = event.report or self.report
                self.on_phase(event.phase)
            if not data:
                # Converted code may close descriptors that it does not own, so a closed pipe is not yet the end.
                # Such a worker cannot be directed any more, and may finish.
                self._selector.unregister(self._events)
                self._tell(None)

    def _over_memory(self) -> bool:
        with contextlib.suppress(psutil.Error):
            self.memory_mb = psutil.Process(self.process.pid).memory_info().rss / 1e6
        return self.memory_mb > self.memory_limit_mb

    def _crash(self, code: int) -> Failure:
        if code > 0:
            return Failure(FailureKind.CRASHED, f"the worker exited with code {code}", self.phase)
        name = signal.Signals(-code).name
        # Nobody but the kernel sends SIGKILL to a worker that we did not end.
        if name == "SIGKILL":
            message = f"killed by the kernel at {self.memory_mb:.0f} MB, most likely for want of memory"
            return Failure(FailureKind.OUT_OF_MEMORY, message, self.phase)
        return Failure(FailureKind.CRASHED, f"the worker was killed by {name}", self.phase)


def _read_result(directory: Path) -> WorkerResult:
    try:
        result = read_json(directory / "result.json", WorkerResult)
    except (FileNotFoundError, ValueError, cattrs.BaseValidationError):
        # Written in one move, so what cannot be read was not written by the worker's own code.
        return WorkerResult()
    # What code that is not ours said goes into files, tags and reports.
    measured, prepared = result.measurement, result.prepared
    return replace(
        result,
        failure=mask(result.failure),
        bad_input=mask(result.bad_input),
        measurement=measured and replace(measured, notes=mask(measured.notes)),
        prepared=prepared and replace(prepared, notes=mask(prepared.notes)),
    )


def free_memory_mb() -> float:
    """Memory that processes can still get, in MB (10^6 bytes)."""
    return float(psutil.virtual_memory().available) / 1e6
