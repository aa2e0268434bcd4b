"""Serve forked workers: import what they need, compute nothing, and fork one for each task.

Importing PyTorch, torchvision, Alma and the runtimes takes several seconds, and the server does it once a job. A fork
of a process that has computed nothing has no thread pool to lose; losing one makes a forked PyTorch process hang.
``multiprocessing``'s own fork server would import the caller's main module into every worker, so that a script without
a ``__main__`` guard would run again.

It is started as ``python -m almaflow.worker.fork_server SOCKET SETTINGS``. A message on the socket is one request with
three descriptors (standard input, log, event pipe); the server reports each start and each end by one message. The
server and all its workers end when the other side of the socket is closed.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from almaflow.records.protocol import MESSAGE_BYTES
from almaflow.worker.main import end_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DESCRIPTORS = 3


def main(arguments: Sequence[str]) -> None:
    """Import the modules and serve until the other side closes.

    Args:
        arguments: The descriptor of the socket; JSON with the processors (``cpus``) and the ``modules``.
    """
    from almaflow.worker import main as worker

    settings = json.loads(arguments[1])
    worker.bind(settings["cpus"])  # before maths libraries read the processors that they may use
    import_all(settings["modules"])
    # All objects that exist now stay: no worker's collector need scan them, which would copy their pages.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(arguments[0])) as connection:
        serve(connection, lambda task_path, events: worker.main([task_path, str(events)]))


def import_all(modules: Sequence[str]) -> None:
    """Import modules that forks of this process need."""
    for name in modules:
        # A module that does not import is reported by the worker, with the fitting failure class.
        with contextlib.suppress(Exception):
            if name == "alma.conversions.select":
                from almaflow.conversions.alma.repairs import apply_repairs

                apply_repairs(())
            importlib.import_module(name)


def serve(connection: socket.socket, work: Callable[[str, int], object]) -> None:
    """Fork a worker for each request and report its end, until the other side closes."""
    wake_read, wake_write = socket.socketpair()
    for end in (wake_read, wake_write):
        end.setblocking(False)  # noqa: FBT003 - positional only
    signal.set_wakeup_fd(wake_write.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    alive: set[int] = set()
    with selectors.DefaultSelector() as selector, wake_read, wake_write:
        selector.register(connection, selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if wake_read in ready:
                wake_read.recv(MESSAGE_BYTES)
                _report_ends(connection, alive)
            if connection in ready:
                message, descriptors, _, _ = socket.recv_fds(connection, MESSAGE_BYTES, DESCRIPTORS)
                if not message:
                    break
                pid = _fork(connection, alive)
                if pid == 0:
                    selector.close()
                    for end in (connection, wake_read, wake_write):
                        end.close()
                    _become_worker(json.loads(message), descriptors, work)
                for descriptor in descriptors:
                    os.close(descriptor)
    for pid in alive:
        _end_session(pid)


def _fork(connection: socket.socket, alive: set[int]) -> int | None:
    """Fork, and tell of it; where the system refuses, the workers that there are go on."""
    try:
        pid = os.fork()
    except OSError as error:
        _send(connection, {"refused": error.errno or errno.EAGAIN})
        return None
    if pid:
        alive.add(pid)
        _send(connection, {"started": pid})
    return pid


def _become_worker(request: dict[str, Any], descriptors: list[int], work: Callable[[str, int], object]) -> NoReturn:
    """Turn this fork into what ``subprocess`` would start, and do the worker's task."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        standard_input, log, events = descriptors
        for descriptor, standard in ((standard_input, 0), (log, 1), (log, 2)):
            os.dup2(descriptor, standard)
        for descriptor in {standard_input, log}:
            os.close(descriptor)
        os.chdir(request["directory"])
        os.environ.update(request["environment"])
        work(request["task"], events)
    except BaseException as error:  # noqa: BLE001 - nothing may get back into the server's loop
        end_for(error)
    finally:
        os._exit(1)


def _report_ends(connection: socket.socket, alive: set[int]) -> None:
    for pid in list(alive):
        # Checked before the worker is reaped: until then no other process can get its group's number.
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            continue
        _end_session(pid)
        _, status = os.waitpid(pid, 0)
        alive.discard(pid)
        _send(connection, {"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _end_session(pid: int) -> None:
    """Kill all processes that a worker has started; compilers' helpers may outlive it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _send(connection: socket.socket, message: dict[str, int]) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionError):
        connection.send(json.dumps(message).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
