"""Both sides of against_tools.py: a worker of almaflow, and a trusted tool in a process that is asked line by line."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow.errors import AlmaflowError
from almaflow.processes.conversation import Conversation
from almaflow.processes.environment import module_search_path, worker_environment
from shared import HERE, BenchmarkError

if TYPE_CHECKING:
    from almaflow.jobs.request import Request
    from almaflow.processes.launcher import Launcher
    from almaflow.processes.worker_handle import WorkerHandle
    from almaflow.records import WorkerTask

ANSWER_S = 1200.0
"""A tool that has given no answer by then, compiling included, never will."""

MAX_TURN_S = 60.0


def prepared(launcher: Launcher, request: Request, directory: Path) -> WorkerTask:
    """The reference worker's task, once it has written the reference, with the digest of the weights."""
    from almaflow.records import WorkerTask

    own = directory / "prepare"
    own.mkdir()
    reference = str(directory / "reference.pt")
    task = WorkerTask(
        request.model, request.hardware, request.measure, None, str(own), reference, sys_path=module_search_path()
    )
    with closing(launcher.start(task)) as worker:
        worker.until_ready()
        result = worker.finish().result
    if result.prepared is None or result.failure:
        message = result.bad_input or (result.failure.message if result.failure else "the reference worker died")
        raise BenchmarkError(message)
    return replace(task, weights_digest=result.prepared.weights_digest)


def start_tool(name: str, task: WorkerTask, directory: Path) -> Conversation:
    """A tool's process, with the threads that almaflow's worker has and a compile cache of its own."""
    directory.mkdir()
    environment = {**os.environ, **worker_environment(replace(task, work_dir=str(directory), cache_dir=None))}
    command = [sys.executable, str(HERE / "tool.py"), str(Path(task.work_dir) / "task.json"), name]
    return Conversation(command, directory / "log.txt", name, environment, directory)


def tool_ms(tool: Conversation, seconds: float) -> float:
    """One turn of a tool: the median in milliseconds.

    Raises:
        BenchmarkError: it has ended instead, or says nothing.
    """
    try:
        median_ms: float = tool.ask({"min_time_s": seconds}, ANSWER_S)["median_ms"]
    except AlmaflowError as error:
        raise BenchmarkError(str(error)) from error
    return median_ms


def round_ms(worker: WorkerHandle, index: int, seconds: float) -> float:
    """One round of almaflow's own: the median in milliseconds, as the worker reports it."""
    from almaflow.records.protocol import RoundRequest

    report = worker.turn(RoundRequest(index, 1, seconds, MAX_TURN_S))
    if report is None:
        raise BenchmarkError(why(worker))
    return report.median_ms


def why(worker: WorkerHandle) -> str:
    """What a worker that has ended says of it."""
    result = worker.exit_state().result
    return result.bad_input or (result.failure.message if result.failure else "almaflow's worker has ended")
