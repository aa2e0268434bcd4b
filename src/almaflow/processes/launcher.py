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
from typing import TYPE_CHECKING, Self

from almaflow.conversions.catalogue.families import TOOLCHAIN
from almaflow.processes.environment import server_environment, worker_environment
from almaflow.processes.logs import BoundedLog
from almaflow.processes.process import Forked, Server
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
        directory = Path(task.work_dir)
        write_json(directory / "task.json", task)
        read_events, write_events = os.pipe()
        read_turns, write_turns = os.pipe()
        log = BoundedLog(directory / "worker.log")
        try:
            process = self._process(task, directory / "task.json", read_turns, log.descriptor, write_events)
        except BaseException:
            log.close()
            os.close(read_events)
            os.close(write_turns)
            raise
        finally:
            os.close(write_events)
            os.close(read_turns)
        return WorkerHandle(process, task, read_events, write_turns, log, on_phase)

    def _process(self, task: WorkerTask, path: Path, standard_input: int, log: int, events: int) -> Forked:
        device = task.conversion.device if task.conversion else task.hardware.device
        cuda = device != "cpu"
        server = self._server(cuda=cuda)
        return server.fork(path, worker_environment(task), standard_input, log, events, cuda=cuda)

    def _server(self, *, cuda: bool) -> Server:
        server = self._servers.get(cuda)
        if server is None or server.gone:
            # The kernel may have killed it for want of memory, which is no reason to fail the next conversions.
            if server:
                server.close()
            environment = {**os.environ, **server_environment(self.hardware, cuda=cuda)}
            # For GPUs inductor has other compilers.
            modules = [module for module in self.preload if not (cuda and module == TOOLCHAIN)]
            server = self._servers[cuda] = Server(environment, self.hardware.cpus, modules, self.log_path)
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
