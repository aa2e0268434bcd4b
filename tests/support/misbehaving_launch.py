"""The parent's side of ``misbehaving_workers``: launch workers that misbehave, and look at what they left running."""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from tests.support import misbehaving_workers
from tests.support.example_jobs import planned

from almaflow.processes.launcher import Launcher, run_worker
from almaflow.records import Failure, HardwareSpec, Measurement, MeasureSpec, ModelSpec, WorkerResult, WorkerTask
from almaflow.records.protocol import RoundRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from almaflow.processes.worker_handle import WorkerExit, WorkerHandle

TESTS = Path(__file__).parent


def make_task(
    directory: Path,
    function: str,
    device: str = "cpu",
    *,
    converts: bool = False,
    kwargs: dict[str, Any] | None = None,
    time_budget_s: float = 60.0,
    memory_limit_mb: float | None = None,
) -> WorkerTask:
    directory.mkdir(exist_ok=True)
    return WorkerTask(
        model=ModelSpec("misbehaving", target=f"misbehaving_workers.{function}", kwargs=dict(kwargs or {})),
        hardware=HardwareSpec("here", device, threads=1),
        measure=MeasureSpec(time_budget_s=time_budget_s, memory_limit_mb=memory_limit_mb, compile_cache="warm"),
        conversion=planned(device=device) if converts else None,
        work_dir=str(directory),
        reference_path=str(directory / "reference.pt"),
        sys_path=(str(TESTS), *sys.path),
    )


def failure_of(result: WorkerResult) -> Failure:
    assert result.failure is not None
    return result.failure


def measurement_of(result: WorkerResult) -> Measurement:
    assert result.measurement is not None
    return result.measurement


def run(directory: Path, function: str, device: str, **settings: Any) -> WorkerExit:
    return run_worker(make_task(directory, function, device, **settings))


def turn(index: int) -> RoundRequest:
    return RoundRequest(index, min_calls=1, min_time_s=0.0, max_time_s=1.0)


@contextmanager
def launching(directory: Path, device: str = "cpu", preload: Sequence[str] = ()) -> Iterator[Launcher]:
    with Launcher(HardwareSpec("here", device, threads=1), directory / "server.log", preload) as launcher:
        yield launcher


@contextmanager
def taking_rounds(
    directory: Path, device: str, function: str = "rounds", settings: dict[str, Any] | None = None, **kwargs: Any
) -> Iterator[WorkerHandle]:
    """A worker that is ready, having taken the round that it takes by itself."""
    task = make_task(directory, function, device, converts=True, kwargs=kwargs, **settings or {})
    with launching(directory, device) as launcher, closing(launcher.start(task)) as worker:
        assert worker.until_ready()
        assert worker.report == misbehaving_workers.REPORT
        yield worker


def pids(directory: Path, patience_s: float = 20.0) -> list[int]:
    """The worker's process ID and its helper's, once it has started."""
    deadline = time.monotonic() + patience_s
    while not (directory / misbehaving_workers.PIDS).exists():
        assert time.monotonic() < deadline, "the worker did not start"
        time.sleep(0.02)
    return [int(pid) for pid in (directory / misbehaving_workers.PIDS).read_text(encoding="ascii").split()]


def facts_of(directory: Path) -> dict[str, Any]:
    """What the worker that was to ``tell`` has found itself to be."""
    found: dict[str, Any] = json.loads((directory / misbehaving_workers.FACTS).read_text(encoding="utf-8"))
    return found


def gone(*process_ids: int, patience_s: float = 5.0) -> bool:
    """Whether none of the processes runs any more, some time from now at the latest."""
    deadline = time.monotonic() + patience_s
    while any(runs(pid) for pid in process_ids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def runs(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def kill_server(launcher: Launcher) -> int:
    """Kill it as the kernel would; its process ID."""
    server = launcher._servers[False]
    server._popen.kill()
    server._popen.wait()
    return server._popen.pid


def open_descriptors() -> int:
    return psutil.Process().num_fds()


def left_running() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "misbehaving_workers" in child.cmdline():
                found.append(child)
    return found
