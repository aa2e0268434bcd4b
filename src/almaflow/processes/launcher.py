"""The launcher starts the workers of a job, each as a clean process.

A worker is never forked from a process that has thread pools. On the CPU it is forked by a server that has only
imported (``worker/fork_server.py``); for CUDA, which does not survive a fork, it is a fresh interpreter. Each is the
leader of a session of its own, so that it and whatever it starts can be ended together.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from almaflow.processes.environment import server_environment, worker_environment
from almaflow.processes.process import Process, Server, Spawned
from almaflow.processes.worker_handle import WorkerExit, WorkerHandle
from almaflow.records import HardwareSpec, WorkerTask, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass
class Launcher:
    """Starts the workers of one job.

    Args:
        hardware: Threads and processors of all workers.
        log_path: The file that gets the server's output.
        preload: Modules that the server imports.
    """

    hardware: HardwareSpec
    log_path: Path
    preload: Sequence[str] = ()
    _server: Server | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        """Start the server at once; it imports while the caller does something else."""
        if self.hardware.device == "cpu":
            self._server = self._new_server()
        return self

    def __exit__(self, *_: object) -> None:
        """End the server and the workers that it has forked."""
        if self._server:
            self._server.close()

    def start(self, task: WorkerTask, on_phase: Callable[[str], None] = lambda _phase: None) -> WorkerHandle:
        """Start a worker; ``task.work_dir`` must exist and gets the log, the task and the result.

        Raises:
            AlmaflowError: the server cannot start workers.
        """
        directory = Path(task.work_dir)
        write_json(directory / "task.json", task)
        read_events, write_events = os.pipe()
        read_turns, write_turns = os.pipe()
        try:
            with (directory / "worker.log").open("wb") as log:
                process = self._process(task, directory / "task.json", read_turns, log.fileno(), write_events)
        except BaseException:
            os.close(read_events)
            os.close(write_turns)
            raise
        finally:
            os.close(write_events)
            os.close(read_turns)
        return WorkerHandle(process, task, read_events, write_turns, on_phase)

    def _process(self, task: WorkerTask, path: Path, standard_input: int, log: int, events: int) -> Process:
        device = task.conversion.device if task.conversion else task.hardware.device
        environment = worker_environment(task)
        if device != "cpu":
            return Spawned(path, {**os.environ, **environment}, standard_input, log, events)
        if self._server is None or self._server.gone:
            # The kernel may have killed it for want of memory, which is no reason to fail the next conversions.
            self._server = self._new_server()
        return self._server.fork(path, environment, standard_input, log, events)

    def _new_server(self) -> Server:
        environment = {**os.environ, **server_environment(self.hardware)}
        return Server(environment, self.hardware.cpus, self.preload, self.log_path)


def run_worker(task: WorkerTask, on_phase: Callable[[str], None] = lambda _phase: None) -> WorkerExit:
    """Run one worker to its end, whatever that is; a conversion takes one round.

    Raises:
        KeyboardInterrupt: the user or a signal interrupted; the worker is gone by then.
    """
    with Launcher(task.hardware, Path(task.work_dir) / "server.log") as launcher:
        worker = launcher.start(task, on_phase)
        with contextlib.closing(worker):
            worker.until_ready()
            return worker.finish()
