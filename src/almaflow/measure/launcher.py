"""The parent's side of a measurement: start a clean process, sleep, and read what it left.

The worker is a fresh interpreter (never forked from a process that has thread pools), the leader of a session of
its own, so that it and whatever it starts can be ended together. The parent sleeps in ``select`` while the
worker measures and wakes a few times a second to look at the clock and at the worker's memory.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cattrs
import psutil

from almaflow.measure.environment import worker_environment
from almaflow.measure.events import EventReader
from almaflow.records import Failure, FailureKind, WorkerResult, WorkerTask, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

WAKE_S = 0.2
"""How often the parent looks at the clock and at the worker's memory: rare enough not to disturb it."""

DEFAULT_MEMORY_SHARE = 0.9
"""Of the memory that is free when a worker starts: beyond it the kernel would pick a victim, maybe the parent."""

TERMINATE_GRACE_S = 2.0

WORKER_MODULE = "almaflow.measure.worker"


@dataclass(frozen=True)
class WorkerExit:
    """How a worker ended, with what it left behind."""

    result: WorkerResult
    log_path: Path
    phase: str


def run_worker(task: WorkerTask, on_phase: Callable[[str], None] = lambda _phase: None) -> WorkerExit:
    """Run one worker to its end, whatever that end is.

    ``task.work_dir`` must exist; the log, the task and the result are written into it.

    Raises:
        KeyboardInterrupt: the user or a signal interrupted; the worker is gone by then.
    """
    work_dir = Path(task.work_dir)
    write_json(work_dir / "task.json", task)
    log_path = work_dir / "worker.log"
    read_end, write_end = os.pipe()
    try:
        try:
            with log_path.open("wb") as log:
                process = subprocess.Popen(  # our own interpreter and module
                    [sys.executable, "-m", WORKER_MODULE, str(work_dir / "task.json"), str(write_end)],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=work_dir,
                    env=worker_environment(task),
                    pass_fds=(write_end,),
                    start_new_session=True,
                )
        finally:
            os.close(write_end)
        with process:
            try:
                watch = _Watch(process, task, read_end, on_phase)
                ended = watch.until_end()
            finally:
                end_session(process)
    finally:
        os.close(read_end)
    result = _read_result(work_dir)
    if ended is None and process.returncode != 0:
        ended = _crash(process.returncode, watch)
    elif ended is None and not _is_final(result):
        ended = Failure(FailureKind.CRASHED, "the worker ended without a result", watch.phase)
    if ended is not None:
        result = WorkerResult(result.prepared, result.measurement, ended, result.bad_input)
    return WorkerExit(result, log_path, watch.phase)


class _Watch:
    """Waits for the end of one worker, or for a limit that it breaks."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        task: WorkerTask,
        read_end: int,
        on_phase: Callable[[str], None],
    ) -> None:
        self.process = process
        self.phase = "start"
        self.memory_mb = 0.0
        self.memory_limit_mb = task.measure.memory_limit_mb or _free_memory_mb() * DEFAULT_MEMORY_SHARE
        self._budget_s = task.measure.time_budget_s
        self._pipe = read_end
        self._reader = EventReader()
        self._on_phase = on_phase

    def until_end(self) -> Failure | None:
        """Block until the worker has ended or a limit is broken; the failure in the second case."""
        deadline = time.monotonic() + self._budget_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            while time.monotonic() < deadline:
                # Asked before the pipe is read, so that the last thing a worker said is heard.
                ended = self.process.poll() is not None
                self._listen(selector, 0.0 if ended else WAKE_S)
                if ended:
                    return None
                if self._over_memory():
                    message = f"used {self.memory_mb:.0f} MB of the {self.memory_limit_mb:.0f} MB it may use"
                    return Failure(FailureKind.OUT_OF_MEMORY, message, self.phase)
        message = f"not done within measure.time_budget_s={self._budget_s:g}, ended while in phase '{self.phase}'"
        return Failure(FailureKind.TIMEOUT, message, self.phase)

    def _listen(self, selector: selectors.BaseSelector, timeout_s: float) -> None:
        """Wait for the worker to say something, or for the pipe to close."""
        if not selector.get_map():
            time.sleep(min(timeout_s, WAKE_S / 4))
        elif selector.select(timeout_s):
            data = os.read(self._pipe, 65536)
            for phase in self._reader.feed(data):
                self.phase = phase
                self._on_phase(phase)
            if not data:
                # The pipe also closes when converted code closes descriptors it does not own, so the process
                # itself decides, not the pipe.
                selector.unregister(self._pipe)

    def _over_memory(self) -> bool:
        with contextlib.suppress(psutil.Error):
            self.memory_mb = psutil.Process(self.process.pid).memory_info().rss / 1e6
        return self.memory_mb > self.memory_limit_mb


def end_session(process: subprocess.Popen[bytes]) -> None:
    """End the worker and everything in its session, politely first if it still runs."""
    if process.poll() is None:
        _signal_session(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(TERMINATE_GRACE_S)
    # Compilers' helper processes may outlive the worker.
    _signal_session(process, signal.SIGKILL)
    process.wait()


def _signal_session(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _crash(returncode: int, watch: _Watch) -> Failure:
    if returncode > 0:
        return Failure(FailureKind.CRASHED, f"the worker exited with code {returncode}", watch.phase)
    name = signal.Signals(-returncode).name
    # Nobody but the kernel sends SIGKILL to a worker that we did not end.
    if name == "SIGKILL":
        message = f"killed by the kernel at {watch.memory_mb:.0f} MB, most likely for want of memory"
        return Failure(FailureKind.OUT_OF_MEMORY, message, watch.phase)
    return Failure(FailureKind.CRASHED, f"the worker was killed by {name}", watch.phase)


def _read_result(work_dir: Path) -> WorkerResult:
    try:
        return read_json(work_dir / "result.json", WorkerResult)
    except (FileNotFoundError, ValueError, cattrs.BaseValidationError):
        # Written in one move, so what cannot be read was not written by the worker's own code.
        return WorkerResult()


def _is_final(result: WorkerResult) -> bool:
    """Whether the worker got to its end: a measurement is written before its output is checked, too."""
    checked = result.measurement is not None and result.measurement.fidelity is not None
    return bool(result.prepared or result.failure or result.bad_input or checked)


def _free_memory_mb() -> float:
    return float(psutil.virtual_memory().available) / 1e6
