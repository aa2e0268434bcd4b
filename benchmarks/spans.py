"""Where a job's time goes, for cost.py: looks at the clock whenever the job in this process waits for somebody."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from almaflow.conversions.catalogue.preload import modules_for
from almaflow.jobs import run as runner
from almaflow.jobs.store import JobStore
from almaflow.measure.drift import DriftProbe
from almaflow.measure.interleave import MeasuredWorker
from almaflow.measure.progress import Progress
from almaflow.processes.launcher import AskedFor, Launcher
from almaflow.processes.worker_handle import WorkerHandle
from shared import say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from almaflow.jobs.request import Request
    from almaflow.records import Job, Outcome

TRACKING = {
    (JobStore, "prepare"): "import MLflow, make the store ready",
    (JobStore, "open"): "create the job's run",
    (JobStore, "log"): "write the conversions' runs",
    (JobStore, "close"): "draw the report, end the job's run",
}
"""What of the product waits for MLflow, and for what."""


WORK = ("load", "convert", "first call", "check", "warm-up")
"""Phases that a conversion has however it is run."""


class Marks(Progress):
    """Shows nothing but warnings, and keeps when which phase began."""

    def __init__(self) -> None:
        """Nothing has begun."""
        self.marks: list[tuple[float, str, str]] = []

    def phase(self, name: str, phase: str) -> None:
        """Keep it."""
        self.marks.append((time.perf_counter(), name, phase))

    def warn(self, text: str) -> None:
        """Show it."""
        say(f"warning: {text}")


class Spans:
    """Seconds spent in calls of the product's own functions, by whom they were for and what was done."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.seconds: dict[tuple[str, str], float] = defaultdict(float)

    def timing(self, function: Callable[..., Any], who: Callable[..., str], what: str) -> Callable[..., Any]:
        """The function, with its time added up; ``who`` is asked with its arguments."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[who(*args), what] += time.perf_counter() - began

        return timed


def run_watched(request: Request) -> tuple[Job, dict[tuple[str, str], float], float]:
    """Run a job; its record, the seconds by whom and what, and its wall time.

    By a conversion's name: the phases of its worker until it is ready (``start`` is from asking for the worker to its
    first sign, ``fork`` its first part), ``turns`` that it took, the gaps before them included, and ``end``. By the
    model's name: the reference worker's phases. Under no name: ``fork`` of that worker, which waits for the server's
    first modules, ``imports`` of the others after it, ``control``, and what tracking did.
    """
    marks, spans = Marks(), Spans()
    watched: list[tuple[Any, str, Callable[..., str], str]] = [
        (MeasuredWorker, "take", lambda measured, *_: _name(measured.handle), "turns"),
        (WorkerHandle, "finish", _name, "end"),
        (AskedFor, "started", lambda asked, *_: asked.task.conversion.name if asked.task.conversion else "", "fork"),
        (Launcher, "until_imported", lambda *_: "", "imports"),
        (DriftProbe, "at_start", lambda *_: "", "control"),
        (DriftProbe, "at_end", lambda *_: "", "control"),
        *((owner, method, lambda *_a, **_k: "", what) for (owner, method), what in TRACKING.items()),
    ]
    with ExitStack() as stack:
        for owner, method, who, what in watched:
            timed = spans.timing(getattr(owner, method), who, what)
            stack.enter_context(patch.object(owner, method, timed))
        began = time.perf_counter()
        job = runner.run_job(request, marks)
        wall_s = time.perf_counter() - began
    return job, {**spans.seconds, **phases(marks.marks)}, wall_s


def phases(marks: Sequence[tuple[float, str, str]]) -> Mapping[tuple[str, str], float]:
    """Seconds by name and phase, from the start of a worker until it is ready; what it says later belongs to turns.

    While it is prepared and waits for others it does nothing.
    """
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    now: dict[str, tuple[float, str]] = {}
    for began, name, phase in marks:
        before = now.pop(name, None)
        if before:
            seconds[name, before[1]] += began - before[0]
        if phase in {"start", "load", "warm-up"} or (before and phase not in {"prepared", "ready"}):
            now[name] = began, phase
    return seconds


def _name(worker: WorkerHandle) -> str:
    conversion = worker.task.conversion
    return conversion.name if conversion else ""


def worker(outcome: Outcome, seconds: Mapping[tuple[str, str], float]) -> dict[str, Any]:
    """One conversion's seconds, over all its processes.

    ``around_calls`` is what its turns took beyond the timed calls: the gap before each, the control workload, untimed
    calls, looks at the machine, keeping the samples. ``worker`` is starting its processes and ending them.
    """
    name, measured = outcome.planned.name, outcome.measurement
    found = {phase: seconds.get((name, phase), 0.0) for phase in ("start", *WORK, "measure", "turns", "end")}
    timed_s = sum(each.wall_s for each in measured.rounds) if measured else 0.0
    worker_s = found["start"] + found["end"]
    around_s = found["measure"] + found["turns"] - timed_s
    total_s = sum(found.values())
    return {
        "conversion": name,
        "status": str(outcome.status),
        "rounds": len(measured.rounds) if measured else 0,
        "total_s": total_s,
        **{key(phase): found[phase] for phase in ("start", *WORK, "end")},
        "timed_s": timed_s,
        "around_calls_s": around_s,
        "worker_s": worker_s,
        "worker_share": worker_s / total_s if total_s else None,
        "overhead_share": (worker_s + around_s) / total_s if total_s else None,
    }


def key(phase: str) -> str:
    """A phase's name in the JSON."""
    return f"{phase.replace(' ', '_').replace('-', '_')}_s"


def server(request: Request, scratch: Path) -> float:
    """Seconds from starting the server until it has imported everything."""
    own = scratch / "server"
    own.mkdir()
    began = time.perf_counter()
    with Launcher(request.hardware, own / "server.log", modules_for(request.model, request.plan)) as launcher:
        launcher.until_imported()
        return time.perf_counter() - began
