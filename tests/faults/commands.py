"""Runs ``almaflow`` commands as forks of a zygote, with faults, and says how each ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Self

from tests.faults.inject import Fault, children, encoded
from tests.support.real_servers import free_port

from almaflow.processes.environment import THREAD_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_S = 240.0
"""A command that has not ended by then hangs: a sweep on a busy machine takes minutes."""
STARTS_WITHIN_S = 240.0
"""Importing everything takes ten seconds, and a minute on a busy machine."""
ENDS_WITHIN_S = 8.0
"""Processes of a command that has ended are gone by then: a server has five seconds to end."""


@dataclass
class Zygote:
    """The process that forks commands; one serves all tests of a session."""

    process: subprocess.Popen[bytes]
    connection: socket.socket
    log: IO[bytes]
    """What it printed."""
    codes: dict[int, int] = field(default_factory=dict)
    beside: set[int] = field(default_factory=set)
    """Forks that are not what a command left: servers, and commands that are to go on."""

    @classmethod
    def start(cls) -> Zygote:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1"), "MLFLOW_DISABLE_TELEMETRY": "true"}
        environment |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "CUDA_VISIBLE_DEVICES": ""}
        log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "tests.faults.zygote", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        zygote = cls(process, ours, log)
        assert zygote._message(STARTS_WITHIN_S) == {"ready": True}
        return zygote

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        self.end_all()
        self.process.kill()
        self.process.wait()

    def end_all(self) -> None:
        """End whatever a test that failed has left."""
        self.beside.clear()
        for left in children(self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(left.pid, signal.SIGKILL)

    def fork(self, request: dict[str, Any]) -> int:
        self.connection.send(json.dumps(request).encode())
        while True:
            message = self._message(PATIENCE_S)
            if "started" in message:
                return int(message["started"])
            self._ended(message)

    def code(self, pid: int, timeout_s: float) -> int | None:
        """The exit code of a fork, negative for a signal; None where it has not ended within the time."""
        deadline = time.monotonic() + timeout_s
        while pid not in self.codes:
            try:
                self._ended(self._message(max(0.0, deadline - time.monotonic())))
            except TimeoutError:
                return None
        return self.codes[pid]

    def _message(self, timeout_s: float) -> dict[str, Any]:
        self.connection.settimeout(timeout_s or 0.001)
        data = self.connection.recv(65536)
        if not data:
            self.log.seek(0)
            message = f"the process that forks commands has ended: {self.log.read().decode(errors='replace')[-2000:]}"
            raise EOFError(message)
        message_in: dict[str, Any] = json.loads(data)
        return message_in

    def _ended(self, message: dict[str, Any]) -> None:
        self.codes[message["ended"]] = message["code"]


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str
    seconds: float
    reached: dict[str, int]
    """How often each point was reached, in the process that came there most often."""
    fired: tuple[str, ...]
    left: tuple[str, ...]
    """Command lines of processes that it left running."""

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.out}{self.err}"


@dataclass
class Command:
    """A command that runs."""

    zygote: Zygote
    pid: int
    control: Path
    began: float

    def wait_for(self, name: str, words: str = "", patience_s: float = PATIENCE_S) -> None:
        """Wait until it has noted something, such as ``held``, or printed words."""
        deadline = time.monotonic() + patience_s
        while words not in self.text(name) or not self.text(name):
            assert self.zygote.code(self.pid, 0.005) is None, f"it ended before {name} {words}: {self.text('stderr')}"
            assert time.monotonic() < deadline, f"it never came to {name} {words}: {self.text('stderr')}"

    def text(self, name: str) -> str:
        path = self.control / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def send(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def go_on(self) -> None:
        (self.control / "go").touch()

    def pids(self, role: str) -> list[int]:
        lines = (line.split() for line in self.text("pids").splitlines())
        return [int(pid) for kind, pid, *_ in lines if kind == role]

    def end(self, patience_s: float = PATIENCE_S) -> Ended:
        """Wait for its end, and for the end of all that it started."""
        code = self.zygote.code(self.pid, patience_s)
        hung = code is None
        if hung:
            self.send(signal.SIGKILL)
            code = self.zygote.code(self.pid, PATIENCE_S)
        seconds = time.monotonic() - self.began
        reached: dict[str, int] = {}
        for line in self.text("reached").splitlines():
            name, _, number = line.partition("|")
            reached[name] = max(reached.get(name, 0), int(number))
        ended = Ended(
            code=-999 if hung or code is None else code,
            out=self.text("stdout"),
            err=self.text("stderr"),
            seconds=seconds,
            reached=reached,
            fired=tuple(self.text("fired").splitlines()),
            left=self._left(),
        )
        shutil.rmtree(self.control, ignore_errors=True)
        return ended

    def _left(self) -> tuple[str, ...]:
        deadline = time.monotonic() + ENDS_WITHIN_S
        while left := [each for each in children(self.zygote.process.pid) if each.pid not in self.zygote.beside]:
            if time.monotonic() > deadline:
                helpers = set(self.pids("helper"))
                names = []
                for each in left:
                    names.append("helper" if each.pid in helpers else f"process {each.pid} of {self.text('pids')!r}")
                    with suppress(ProcessLookupError):
                        os.kill(each.pid, signal.SIGKILL)
                return tuple(names)
            time.sleep(0.02)
        return ()


@dataclass
class MlflowServer:
    """MLflow's server before a sqlite store, in a fork of its own."""

    zygote: Zygote
    root: Path
    database: Path
    port: int = field(default_factory=free_port)
    pid: int | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def trouble(self, *rules: tuple[str, str, int, int]) -> None:
        """Let it answer badly: see ``server.Troubled``. Without rules it answers well."""
        part = self.root / "rules.part"
        part.write_text(json.dumps(rules), encoding="utf-8")
        part.replace(self.root / "rules")

    def start(self) -> None:
        self.root.mkdir(exist_ok=True)
        self.trouble()
        arguments = ["serve", str(self.port), f"sqlite:///{self.database}", str(self.root / "artifacts")]
        self.pid = _fork_helper(self.zygote, [*arguments, str(self.root / "rules")], self.root)
        self.zygote.beside.add(self.pid)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self.zygote.code(self.pid, 0.02) is None, (self.root / "log").read_text()
            assert time.monotonic() < deadline

    def stop(self) -> None:
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            self.zygote.code(self.pid, PATIENCE_S)
            self.zygote.beside.discard(self.pid)
            self.pid = None

    @contextmanager
    def running(self) -> Iterator[Self]:
        self.start()
        try:
            yield self
        finally:
            self.stop()


def make_store(zygote: Zygote, database: Path) -> None:
    """Make a store with MLflow's tables and without a run."""
    pid = _fork_helper(zygote, ["template", str(database)], database.parent)
    assert zygote.code(pid, PATIENCE_S) == 0, (database.parent / "log").read_text()


def _fork_helper(zygote: Zygote, arguments: list[str], directory: Path) -> int:
    return zygote.fork(
        {
            "arguments": arguments,
            "environment": {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
            "directory": str(directory),
            "stdout": str(directory / "log"),
            "stderr": str(directory / "log"),
            "faults": "[]",
            "control": str(directory),
        }
    )


def start(
    zygote: Zygote,
    arguments: tuple[str, ...],
    directory: Path,
    environment: dict[str, str],
    faults: tuple[Fault, ...] = (),
    *,
    stdout: Path | None = None,
    stderr: Path | None = None,
) -> Command:
    """Start a command, whose output goes to files unless it is to go elsewhere."""
    control = directory / f"control-{time.monotonic_ns()}"
    control.mkdir()
    control.chmod(0o777)  # the command may be another user's
    began = time.monotonic()
    pid = zygote.fork(
        {
            "arguments": ["almaflow", *arguments],
            "environment": environment,
            "directory": str(directory),
            "stdout": str(stdout or control / "stdout"),
            "stderr": str(stderr or control / "stderr"),
            "faults": encoded(faults),
            "control": str(control),
        }
    )
    return Command(zygote, pid, control, began)
