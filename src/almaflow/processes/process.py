"""The process of a worker as its parent sees it, and the server that forks it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import socket
import subprocess
from typing import TYPE_CHECKING

from almaflow.errors import AlmaflowError
from almaflow.processes.environment import running
from almaflow.processes.logs import BoundedLog, last_line
from almaflow.records.protocol import MESSAGE_BYTES
from almaflow.records.trouble import exit_code

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

SERVER_MODULE = "almaflow.worker.fork_server"
WORKER_MODULE = "almaflow.worker.main"
SERVER_GRACE_S = 5.0


class Server:
    """The parent's side of the server that forks workers: started once a job, asked for each worker.

    Raises:
        AlmaflowError: the server does not start, or has ended.
    """

    def __init__(
        self, environment: Mapping[str, str], cpus: Sequence[int] | None, modules: Sequence[str], log_path: Path
    ) -> None:
        """Start the server, which imports while the caller goes on."""
        self._log_path = log_path
        self._log = BoundedLog(log_path)
        self._codes: dict[int, int] = {}
        self._left: dict[int, list[str]] = {}
        self._alive: set[int] = set()
        self._asked_for = 0
        """Workers that were asked for, and of which the server has not told yet."""
        self._imported = False
        self._started: list[tuple[int, int]] = []
        """A process ID and 0, or 0 and the error number with which the system refused."""
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        settings = json.dumps({"cpus": cpus, "modules": list(modules)})
        with theirs:
            self._popen = subprocess.Popen(  # our own interpreter and module
                [*running(SERVER_MODULE), str(theirs.fileno()), settings],
                stdin=subprocess.DEVNULL,
                stdout=self._log.descriptor,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C at the terminal is the parent's to handle
            )

    def ask(
        self,
        task_path: Path,
        environment: Mapping[str, str],
        descriptors: Sequence[int],
        *,
        cuda: bool = False,
        early: bool = False,
    ) -> None:
        """Ask for a worker; ``started`` waits for it.

        Args:
            task_path: The worker's task; its directory becomes the working directory.
            environment: Variables that are set beside the server's own.
            descriptors: Of the worker's standard input, of its standard output and error, and of its event pipe.
            cuda: Whether the worker needs CUDA: the fork becomes a fresh interpreter where the server has started it.
            early: Whether the worker needs only the first modules that the server imports.

        Raises:
            AlmaflowError: the server has gone.
        """
        self._log.trim()
        request = {
            "task": str(task_path),
            "directory": str(task_path.parent),
            "environment": dict(environment),
            "command": running(WORKER_MODULE) if cuda else None,
            "early": early,
        }
        with self._goes_on():
            self._asked_for += 1
            socket.send_fds(self._connection, [json.dumps(request).encode()], list(descriptors))

    def started(self) -> Forked:
        """Wait for the worker that was asked for, until the server has imported what it needs.

        Raises:
            AlmaflowError: the server has gone.
            OSError: the system refuses to fork.
        """
        with self._goes_on():
            while not self._started:
                self._listen(None)
        pid, refused = self._started.pop()
        if refused:
            raise OSError(refused, os.strerror(refused))
        return Forked(pid, self)

    def until_imported(self) -> None:
        """Wait until the server has imported everything, or has gone: whoever needs it then is told so."""
        with contextlib.suppress(OSError, EOFError):
            while not self._imported:
                self._listen(None)

    @contextlib.contextmanager
    def _goes_on(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError) as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(SERVER_GRACE_S)  # it still writes why
            self.close()
            message = f"the process that starts the workers has gone ({last_line(self._log_path) or error})"
            raise AlmaflowError(message) from error

    @property
    def gone(self) -> bool:
        """Whether the server has ended."""
        return self._popen.poll() is not None

    def code(self, pid: int) -> int | None:
        """The exit code of a worker, negative for a signal; None while the worker runs."""
        if pid not in self._codes:
            # A server that has ended takes its workers along, and cannot report their ends any more.
            try:
                while self._listen(0.0):
                    pass
            except (OSError, EOFError):
                self._codes[pid] = exit_code(errno.ECHILD)
        return self._codes.get(pid)

    def left(self, pid: int) -> list[str]:
        """The names of programs that a worker had left running in sessions of their own when it ended."""
        return self._left.get(pid, [])

    def _listen(self, timeout_s: float | None) -> bool:
        if self._connection.fileno() < 0:  # closed, by us
            raise EOFError
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            if not selector.select(timeout_s):
                return False
        data = self._connection.recv(MESSAGE_BYTES)
        if not data:
            raise EOFError
        message = json.loads(data)
        if "imported" in message:
            self._imported = True
        elif "started" in message:
            self._asked_for -= 1
            self._alive.add(message["started"])
            self._started.append((message["started"], 0))
        elif "refused" in message:
            self._asked_for -= 1
            self._started.append((0, message["refused"]))
        else:
            self._codes[message["ended"]] = message["code"]
            self._left[message["ended"]] = message["left"]
            self._alive.discard(message["ended"])
        return True

    def close(self) -> None:
        """End the server, and with it every worker that still runs."""
        self._connection.close()
        # Without a worker the server has nothing to tidy up.
        workers = self._alive or self._asked_for
        if workers:
            self._popen.terminate()  # while it imports, it does not see that the other side has closed
        try:
            self._popen.wait(SERVER_GRACE_S if workers else 0)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._log.close()


class Forked:
    """A worker that the server forked."""

    def __init__(self, pid: int, server: Server) -> None:
        """Keep the server, which alone learns of the worker's end."""
        self.pid = pid
        self._server = server

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while the worker runs."""
        return self._server.code(self.pid)

    def left_running(self) -> list[str]:
        """The names of programs that it had left running in sessions of their own; the server has ended them."""
        return self._server.left(self.pid)
