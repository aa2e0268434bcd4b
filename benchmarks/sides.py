"""Both sides of against_tools.py: a worker of almaflow, and a trusted tool in a process that is asked line by line."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self, cast

from processes import END_S, end, last_line
from shared import HERE, BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from almaflow.jobs.request import Request
    from almaflow.processes.launcher import Launcher
    from almaflow.processes.worker_handle import WorkerHandle
    from almaflow.records import WorkerTask

ANSWER_S = 1200.0
"""A tool that has given no answer by then, compiling included, never will."""

MAX_TURN_S = 60.0


class Asked:
    """A child that reads one JSON line after the other and answers each with one."""

    def __init__(self, command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
        """Start it in a new directory, which gets its stderr."""
        directory.mkdir()
        self._log = directory / "log.txt"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=directory,
                env=dict(environment),
                start_new_session=True,
            )
        self._stdin, self._stdout = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        end(self._process)
        with suppress(OSError):  # it is gone, and what it was to read with it
            self._stdin.close()
        self._stdout.close()

    def ask(self, question: Mapping[str, object]) -> dict[str, Any]:
        """Its answer, however long it takes up to ``ANSWER_S``.

        Raises:
            BenchmarkError: it has ended instead, or says nothing.
        """
        line = b""
        with suppress(OSError), selectors.DefaultSelector() as selector:
            self._stdin.write(json.dumps(question).encode() + b"\n")
            self._stdin.flush()
            selector.register(self._stdout, selectors.EVENT_READ)
            if selector.select(ANSWER_S):
                line = self._stdout.readline()
        if not line:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)  # it may still be saying why
            message = f"no answer; it last said: {last_line(self._log)}"
            raise BenchmarkError(message)
        answer: dict[str, Any] = json.loads(line)
        return answer


def prepared(launcher: Launcher, request: Request, directory: Path) -> WorkerTask:
    """The preparing worker's task, once it has written the reference, with the digest of the weights."""
    from almaflow.records import WorkerTask

    own = directory / "prepare"
    own.mkdir()
    reference = str(directory / "reference.pt")
    sys_path = tuple(path for path in sys.path if path)
    task = WorkerTask(request.model, request.hardware, request.measure, None, str(own), reference, sys_path=sys_path)
    with closing(launcher.start(task)) as worker:
        worker.until_ready()
        result = worker.finish().result
    if result.prepared is None or result.failure:
        message = result.bad_input or (result.failure.message if result.failure else "the preparing worker died")
        raise BenchmarkError(message)
    return replace(task, weights_digest=result.prepared.weights_digest)


def start_tool(name: str, task: WorkerTask, directory: Path) -> Asked:
    """A tool's process, with the threads that almaflow's worker has and a compile cache of its own."""
    from almaflow.processes.environment import worker_environment

    environment = {**os.environ, **worker_environment(replace(task, work_dir=str(directory), cache_dir=None))}
    command = [sys.executable, str(HERE / "tool.py"), str(Path(task.work_dir) / "task.json"), name]
    return Asked(command, directory, environment)


def round_ms(worker: WorkerHandle, index: int, seconds: float) -> float:
    """One round of almaflow's own: the median in milliseconds, as the worker reports it."""
    from almaflow.records.protocol import RoundRequest

    report = worker.turn(RoundRequest(index, 1, seconds, MAX_TURN_S))
    if report is None:
        raise BenchmarkError(why(worker))
    return report.median_ms


def why(worker: WorkerHandle) -> str:
    """What a worker that has ended says of it."""
    result = worker.left().result
    return result.bad_input or (result.failure.message if result.failure else "almaflow's worker has ended")
