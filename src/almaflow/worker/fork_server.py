"""Serve forked workers: import what they need, compute nothing of a model, and fork one for each task.

Importing PyTorch, torchvision, Alma and the runtimes takes several seconds, and the server does it once a job. The
worker that needs the first of them only is forked as soon as these are there. A fork
of a process that has computed nothing has no thread pool to lose; losing one makes a forked PyTorch process hang.
``multiprocessing``'s own fork server would import the caller's main module into every worker, so that a script without
a ``__main__`` guard would run again.

The server and each worker adopt what their descendants leave behind. So everything that a worker has started is a
descendant of it while it runs, in whatever session, and becomes a child of the server when it ends.

It is started as ``python -m almaflow.worker.fork_server SOCKET SETTINGS``. A message on the socket is one request with
three descriptors (standard input, log, event pipe); the server reports each start and each end by one message. The
server and all its workers end when the other side of the socket is closed, and at SIGTERM, which also ends an import.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import psutil

from almaflow.machine import home
from almaflow.machine.process_tree import children
from almaflow.records.protocol import MESSAGE_BYTES
from almaflow.worker import cuda_unstarted, toolchain
from almaflow.worker.main import end_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DESCRIPTORS = 3

FIRST = ("torch", "almaflow.worker.reference", "threadpoolctl", "torchvision")
"""Modules that the worker needs that is asked for early: it builds the model and runs it eagerly."""

PR_SET_CHILD_SUBREAPER = 36

MOST_NAMES = 10
"""Most names of processes that are told of one worker: a message has to fit."""

LAST_LOOKS, LAST_LOOK_S = 20, 0.01
"""Most times that the server looks for what is left when it ends: what is killed may leave further processes."""


class _Ended(BaseException):
    """Ends a step under way, whatever errors it is prepared for."""


def main(arguments: Sequence[str]) -> NoReturn:
    """Import the modules, serve until the other side closes, and end the process.

    Args:
        arguments: The descriptor of the socket; JSON with the processors (``cpus``) and the ``modules``.
    """
    from almaflow.worker import main as worker

    settings = json.loads(arguments[1])
    adopt_orphans()
    worker.bind(settings["cpus"])  # before maths libraries read the processors that they may use
    modules = settings["modules"]
    steps = [partial(import_all, [name]) for name in modules]
    if toolchain.__name__ in modules:
        steps.append(partial(toolchain.take, home()))
    first = 1 + max((modules.index(name) for name in FIRST if name in modules), default=-1)
    for step in steps[:first]:
        step()
    with socket.socket(fileno=int(arguments[0])) as connection, contextlib.suppress(_Ended):
        serve(connection, lambda task_path, events: worker.main([task_path, str(events)]), steps[first:])
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(0)  # to take down all that was imported takes seconds


def adopt_orphans() -> None:
    """Become the parent of processes that descendants leave behind; where the kernel cannot do that, nobody does."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def import_all(modules: Sequence[str]) -> None:
    """Import modules that forks of this process need."""
    for name in modules:
        # A module that does not import is reported by the worker, with the fitting failure class.
        with contextlib.suppress(Exception), cuda_unstarted.asked_by_nvml():
            if name == "alma.conversions.select":
                from almaflow.conversions.alma.later_imports import import_quanto
                from almaflow.conversions.alma.repairs import apply_repairs

                apply_repairs(())
                import_quanto()
            importlib.import_module(name)


def serve(
    connection: socket.socket, work: Callable[[str, int], object], steps: Sequence[Callable[[], object]] = ()
) -> None:
    """Fork a worker for each request and report its end, until the other side closes.

    Args:
        connection: Brings the requests, and takes the reports.
        work: The worker's work, by the path of its task and the descriptor of its event pipe.
        steps: What is to be done before workers are forked. A worker that needs none of it is forked between two.
    """
    wake_read, wake_write = socket.socketpair()
    for end in (wake_read, wake_write):
        end.setblocking(False)  # noqa: FBT003 - positional only
    signal.set_wakeup_fd(wake_write.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    alive: set[int] = set()
    preparation = _Preparation(connection, list(steps))
    signal.signal(signal.SIGTERM, preparation.end_step)
    with selectors.DefaultSelector() as selector, wake_read, wake_write, _all_ended(alive):
        selector.register(connection, selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        while not preparation.ended:
            ready = {key.fileobj for key, _ in selector.select(0 if preparation.steps else None)}
            if wake_read in ready:
                wake_read.recv(MESSAGE_BYTES)
                _report_ends(connection, alive, preparation.started)
            if connection not in ready:
                preparation.take_one()
                continue
            message, descriptors, _, _ = socket.recv_fds(connection, MESSAGE_BYTES, DESCRIPTORS)
            if not message:
                break
            request = json.loads(message)
            while preparation.steps and not request["early"]:
                preparation.take_one()
            fresh = request["command"] is not None and cuda_unstarted.started()
            pid = _fork(connection, alive)
            if pid == 0:
                selector.close()
                for end in (connection, wake_read, wake_write):
                    end.close()
                _become_worker(request, descriptors, work, fresh=fresh)
            for descriptor in descriptors:
                os.close(descriptor)


class _Preparation:
    """The steps that remain, and what the steps so far have started."""

    def __init__(self, connection: socket.socket, steps: list[Callable[[], object]]) -> None:
        self.steps = steps
        self.started = set(children(os.getpid()))
        """Processes that modules started when they were imported."""
        self._connection = connection
        self._in_step = False
        self.ended = False
        """Whether the process is to end."""
        self._take_in()

    def take_one(self) -> None:
        """Take the next step, if there is one."""
        if self.steps:
            before = set(children(os.getpid()))
            self._in_step = True
            if self.ended:  # between two steps
                raise _Ended
            self.steps.pop(0)()
            self._in_step = False
            self.started |= set(children(os.getpid())) - before
            if not self.steps:
                self._take_in()

    def end_step(self, *_: object) -> None:
        """End the step under way, or the next one, and the process with it: an import may take long."""
        self.ended = True
        if self._in_step:
            self._in_step = False
            raise _Ended

    def _take_in(self) -> None:
        # All objects that exist now stay: no worker's collector need scan them, which would copy their pages.
        gc.collect()
        gc.freeze()
        if not self.steps:
            _send(self._connection, {"imported": True})


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


def _become_worker(
    request: dict[str, Any], descriptors: list[int], work: Callable[[str, int], object], *, fresh: bool
) -> NoReturn:
    """Turn this fork into what ``subprocess`` would start, and do the worker's task.

    It becomes a fresh interpreter where the worker needs CUDA and cannot have it in this process.
    """
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        adopt_orphans()
        standard_input, log, events = descriptors
        for descriptor, standard in ((standard_input, 0), (log, 1), (log, 2)):
            os.dup2(descriptor, standard)
        for descriptor in {standard_input, log}:
            os.close(descriptor)
        os.chdir(request["directory"])
        os.environ.update(request["environment"])
        if request["command"] and (fresh or cuda_unstarted.unusable()):
            os.set_inheritable(events, True)  # noqa: FBT003 - positional only
            os.execv(request["command"][0], [*request["command"], request["task"], str(events)])  # noqa: S606 - ours
        work(request["task"], events)
    except BaseException as error:  # noqa: BLE001 - nothing may get back into the server's loop
        end_for(error)
    finally:
        os._exit(1)


def _report_ends(connection: socket.socket, alive: set[int], before: set[int]) -> None:
    for pid in list(alive):
        # Checked before the worker is reaped: until then no other process can get its group's number.
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            continue
        _end_session(pid)
        left = _end_orphans(alive | before, pid)
        _, status = os.waitpid(pid, 0)
        alive.discard(pid)
        _send(connection, {"ended": pid, "code": os.waitstatus_to_exitcode(status), "left": left})
    _end_orphans(alive | before)  # children of those that were killed before


def _end_session(pid: int) -> None:
    """Kill all processes that a worker has started; compilers' helpers may outlive it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


@contextlib.contextmanager
def _all_ended(workers: set[int]) -> Iterator[None]:
    """Whatever ends the block, end all that has been started."""
    try:
        yield
    finally:
        _end_all(workers)


def _end_all(workers: set[int]) -> None:
    for pid in workers:
        _end_session(pid)
    for _ in range(LAST_LOOKS):
        if not children(os.getpid()):
            break
        _end_orphans(set())
        time.sleep(LAST_LOOK_S)


def _end_orphans(others: set[int], session: int | None = None) -> list[str]:
    """Kill children other than these, which workers have left, and return the names of those outside the session."""
    left = []
    for pid in set(children(os.getpid())) - others:
        with contextlib.suppress(ProcessLookupError, PermissionError, ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0]:
                continue
            if session and os.getsid(pid) != session:
                left.append(_name(pid))
            os.kill(pid, signal.SIGKILL)
    return left[:MOST_NAMES]


def _name(pid: int) -> str:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).name()
    return "?"


def _send(connection: socket.socket, message: dict[str, object]) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionError):
        connection.send(json.dumps(message).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
