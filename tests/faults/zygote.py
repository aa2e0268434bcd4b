"""A process that has imported MLflow, PyTorch and almaflow once, and forks for each command.

``python -m tests.faults.zygote SOCKET`` serves requests as JSON. A fork becomes what the shell would have started: a
session, an environment, a directory and descriptors of its own; then it calls ``almaflow.cli.main`` with real arguments
and ends with a real exit code. Where the product starts its clean server, that is forked too instead of executed, so
that a job takes a second instead of six.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import inspect
import io
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

PR_SET_CHILD_SUBREAPER = 36
MESSAGE_BYTES = 65536
MODULES = (
    "mlflow.server.handlers", "torch", "hydra", "hydra._internal.core_plugins.basic_sweeper", "threadpoolctl",
    "alma.conversions.select", "almaflow.conversions.native",
    "torch.export", "sqlalchemy.dialects.sqlite", "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.artifact.local_artifact_repo", "matplotlib.figure", "scipy.stats", "werkzeug.serving",
    "encodings.utf_16_be",  # another user may not be able to read the interpreter's library
    "almaflow.cli.run", "almaflow.cli.sync", "almaflow.cli.sweep", "almaflow.cli.report", "almaflow.cli.accuracy",
    "almaflow.jobs.run", "almaflow.report.html_page", "almaflow.report.pictures", "almaflow.report.terminal",
    "almaflow.worker.conversion", "almaflow.worker.reference", "almaflow.worker.fork_server", "almaflow.api.validation",
    "tests.faults.server",
)  # fmt: skip
"""What commands and workers import, so that no fork has to."""
FORKED = {"almaflow.worker.fork_server"}

_EXECUTE = inspect.signature(subprocess.Popen._execute_child)  # type: ignore[attr-defined]

_injections: list[Any] = []
"""The injection of the command that this process is; none in the process that forks."""


class ForkingPopen(subprocess.Popen[Any]):
    """Forks where one of ``FORKED`` is started by our interpreter, and does what executing would have done."""

    def _execute_child(self, *args: Any) -> None:
        given = _EXECUTE.bind(self, *args).arguments
        words = list(given["args"])
        if words[:3] != [sys.executable, "-P", "-m"] or words[3] not in FORKED or not _injections:
            super()._execute_child(*args)  # type: ignore[misc]
            return
        self.pid = os.fork()
        if self.pid == 0:
            _run_module(given, words[3], words[4:])
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(given[name] for name in pipes))  # type: ignore[attr-defined]


def _run_module(given: dict[str, Any], module: str, arguments: list[str]) -> NoReturn:
    """Be the child: nothing of the parent's is open or set, as after an ``exec``."""
    try:
        if given["start_new_session"]:
            os.setsid()
        for descriptor, standard in ((given["p2cread"], 0), (given["c2pwrite"], 1), (given["errwrite"], 2)):
            if descriptor >= 0:
                os.dup2(descriptor, standard)
        _close_others({0, 1, 2, *given["pass_fds"]})
        _default_signals()
        if given["env"] is not None:
            os.environ.clear()
            os.environ.update(given["env"])
        _own_streams()
        _injections[-1].become("server")
        importlib.import_module(module).main(arguments)
    except BaseException:  # noqa: BLE001 - nothing may get back into the parent's code
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _close_others(kept: set[int]) -> None:
    for name in list(Path("/proc/self/fd").iterdir()):
        if int(name.name) not in kept:
            with suppress(OSError):
                os.close(int(name.name))


def _default_signals(*, all_of_them: bool = False) -> None:
    """Handle signals as a new interpreter does: one that is ignored stays so, unless it is ``all_of_them``."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGINT, signal.SIGQUIT):
        if all_of_them or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _own_streams() -> None:
    """Standard output and error as the interpreter makes them."""
    at_once = bool(os.environ.get("PYTHONUNBUFFERED"))
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        raw = io.FileIO(descriptor, "w", closefd=False)
        errors = "strict" if name == "stdout" else "backslashreplace"
        buffer: Any = raw if at_once else io.BufferedWriter(raw)
        stream = io.TextIOWrapper(buffer, "utf-8", errors, line_buffering=name == "stderr", write_through=at_once)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _become_command(request: dict[str, Any]) -> None:
    """Turn this fork into the process of one command."""
    from tests.faults.inject import Injection, decoded

    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    out, err = (os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) for name in ("stdout", "stderr"))
    for descriptor, standard in ((null, 0), (out, 1), (err, 2)):
        os.dup2(descriptor, standard)
    _close_others({0, 1, 2})
    _default_signals(all_of_them=True)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None
    time.tzset()
    user = os.environ.pop("FAULTS_USER", None)
    if user and os.geteuid() == 0:  # for everybody else permissions hold already
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))
    paths = [request["directory"], *filter(None, request["environment"].get("PYTHONPATH", "").split(os.pathsep))]
    sys.path[:0] = [path for path in paths if path not in sys.path]
    _own_streams()
    importlib.invalidate_caches()
    injection = Injection(decoded(request["faults"] or "[]"), Path(request["control"]))
    _injections.append(injection)
    if request["arguments"][0] == "almaflow" and request["faults"] is not None:
        injection.arm()
        _tell_workers(injection)


def _tell_workers(injection: Any) -> None:
    """Let each worker know that it is one, and of which conversion."""
    from almaflow.worker import main as worker

    original = worker.main

    def main(arguments: list[str]) -> None:
        place = Path(arguments[0]).parent.parent  # conversions/NN-NAME/work/task.json, or prepare/task.json
        kind = place.parent.name in {"conversions", "references"}
        injection.become("worker", place.name.partition("-")[2] if kind else "reference")
        original(arguments)

    worker.main = main


def _run_to_end(request: dict[str, Any]) -> NoReturn:
    """Run it and end as the interpreter ends.

    Destructors of libraries are left out: some wait for threads that a fork does not have.
    """
    code = 0
    try:
        _run(request)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - what the interpreter does at the top
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    try:
        sys.stdout.flush()
    except Exception:  # noqa: BLE001 - whatever the stream raises
        code = 120
    with suppress(Exception):
        sys.stderr.flush()
    os._exit(code)


def _run(request: dict[str, Any]) -> None:
    program, *arguments = request["arguments"]
    if program == "almaflow":
        from almaflow.cli import main

        main(arguments)
    elif program == "scripts":
        for script in arguments:
            sys.argv = [script]
            runpy.run_path(script, run_name="__main__")
    elif program == "template":
        from mlflow import MlflowClient

        MlflowClient(f"sqlite:///{arguments[0]}").search_experiments(max_results=1)
    else:
        from tests.faults.server import serve_mlflow

        serve_mlflow(*arguments)


def main() -> None:
    """Import, then fork for each request until the other side closes."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    from almaflow.conversions.alma.repairs import apply_repairs

    apply_repairs(())
    for name in MODULES:
        importlib.import_module(name)
    from almaflow import machine

    machine.describe()
    sys.dont_write_bytecode = True  # a model that is edited twice within a second is read anew
    subprocess.Popen = ForkingPopen  # type: ignore[misc]
    gc.collect()
    gc.freeze()
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.send(b'{"ready": true}')
    if request := _serve(connection):
        _become_command(request)
        _run_to_end(request)


def _serve(connection: socket.socket) -> dict[str, Any] | None:
    """Fork for each request and tell of each end; gives the request in the fork, and None at the end."""
    wake_read, wake_write = socket.socketpair()
    for end in (wake_read, wake_write):
        end.setblocking(False)
    signal.set_wakeup_fd(wake_write.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(connection, selectors.EVENT_READ)
    selector.register(wake_read, selectors.EVENT_READ)
    while True:
        ready = {key.fileobj for key, _ in selector.select()}
        if wake_read in ready:
            wake_read.recv(MESSAGE_BYTES)
            with suppress(ChildProcessError):
                while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                    message = {"ended": ended[0], "code": os.waitstatus_to_exitcode(ended[1])}
                    connection.send(json.dumps(message).encode())
        if connection in ready:
            message_in = connection.recv(MESSAGE_BYTES)
            if not message_in:
                return None
            request: dict[str, Any] = json.loads(message_in)
            pid = os.fork()
            if pid == 0:
                return request
            connection.send(json.dumps({"started": pid}).encode())


if __name__ == "__main__":
    main()
