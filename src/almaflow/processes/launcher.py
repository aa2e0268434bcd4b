"""The launcher starts the workers of a job, each as a clean process.

A worker is never forked from a process that has thread pools. A server (``worker/fork_server.py``) forks it, and ends
whatever it leaves behind. The server has only imported, and for CUDA it is another one, which sees the GPUs and has not
started CUDA. Each worker is the leader of a session of its own.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

from almaflow.processes.environment import server_environment, worker_environment
from almaflow.processes.logs import BoundedLog
from almaflow.processes.process import Server
from almaflow.processes.worker_handle import WorkerExit, WorkerHandle
from almaflow.records import HardwareSpec, WorkerTask, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass
class AskedFor:
    """A worker that the server has been asked for; what it holds is closed unless the worker is taken over."""

    task: WorkerTask
    log: BoundedLog
    events: int
    turns: int
    server: Server | None = None
    _open: bool = field(default=True, init=False)

    def started(self, on_phase: Callable[[str], None] = lambda _phase: None) -> WorkerHandle:
        """Wait until the worker runs.

        Raises:
            AlmaflowError: the server has gone.
            OSError: the system refuses to fork.
        """
        try:
            process = cast("Server", self.server).started()
        except BaseException:
            self.close()
            raise
        self._open = False
        return WorkerHandle(process, self.task, self.events, self.turns, self.log, on_phase)

    def close(self) -> None:
        """Close the descriptors. May be called again."""
        if self._open:
            self._open = False
            self.log.close()
            os.close(self.events)
            os.close(self.turns)


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
    _servers: dict[bool, Server] = field(default_factory=dict, init=False)
    """The servers that run, by whether their workers use CUDA."""

    def __enter__(self) -> Self:
        """Start the server at once; it imports while the caller does something else."""
        self._server(cuda=self.hardware.device != "cpu")
        return self

    def __exit__(self, *_: object) -> None:
        """End the servers and the workers that they have forked."""
        for server in self._servers.values():
            server.close()

    def start(self, task: WorkerTask, on_phase: Callable[[str], None] = lambda _phase: None) -> WorkerHandle:
        """Start a worker; ``task.work_dir`` must exist and gets the log, the task and the result.

        Raises:
            AlmaflowError: the server cannot start workers.
        """
        return self.ask(task).started(on_phase)

    def ask(self, task: WorkerTask) -> AskedFor:
        """Ask for a worker without waiting for it, as the server may still be importing.

        Raises:
            AlmaflowError: the server cannot start workers.
        """
        directory = Path(task.work_dir)
        write_json(directory / "task.json", task)
        read_events, write_events = os.pipe()
        read_turns, write_turns = os.pipe()
        log = BoundedLog(directory / "worker.log")
        asked = AskedFor(task, log, read_events, write_turns)
        device = task.conversion.device if task.conversion else task.hardware.device
        try:
            asked.server = self._server(cuda=device != "cpu")
            asked.server.ask(
                directory / "task.json",
                worker_environment(task),
                (read_turns, log.descriptor, write_events),
                cuda=device != "cpu",
                early=task.conversion is None,
            )
        except BaseException:
            asked.close()
            raise
        finally:
            os.close(write_events)
            os.close(read_turns)
        return asked

    def until_imported(self) -> None:
        """Wait until the servers have imported everything, and compute nothing any more."""
        for server in self._servers.values():
            server.until_imported()

    def _server(self, *, cuda: bool) -> Server:
        server = self._servers.get(cuda)
        if server is None or server.gone:
            # The kernel may have killed it for want of memory, which is no reason to fail the next conversions.
            if server:
                server.close()
            environment = {**os.environ, **server_environment(self.hardware, cuda=cuda)}
            server = self._servers[cuda] = Server(environment, self.hardware.cpus, self.preload, self.log_path)
        return server


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
