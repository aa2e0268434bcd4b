"""Checks an exported folder in a fresh process, which cannot import almaflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow.errors import AlmaflowError
from almaflow.machine.lock import alone
from almaflow.processes.environment import server_environment
from almaflow.processes.logs import reason_of
from almaflow.tracking.exported import log_export

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.jobs.kept_export import Exported

TIMEOUT_S = 900.0
METRICS = ("export/load_s", "export/first_call_s", "export/floor_ms", "export/floor_ratio")

_RUN = """\
import os, runpy, sys
{blocked}
if {cpus!r}: os.sched_setaffinity(0, {cpus!r})
sys.path[:0] = {paths!r}
runpy.run_path({script!r}, run_name="__main__")
"""


@dataclass(frozen=True)
class Checked:
    """What the check of an export found."""

    fault: str | None
    """What is wrong with the outputs; None where they are equal within the tolerance."""
    sqnr_db: float | None
    """Least SQNR of the floating outputs against the job's; None where they are equal to the bit."""
    load_s: float
    """Time to import what it needs and to load the model."""
    first_call_s: float
    floor_ms: float
    """5th percentile of the calls; the fastest one of fewer than 20."""
    calls: int
    floor_ratio: float | None
    """The floor over that of the job; None where that timed several calls at once."""

    @property
    def metrics(self) -> dict[str, float]:
        """The figures by the names that they have in MLflow."""
        values = dict(zip(METRICS, (self.load_s, self.first_call_s, self.floor_ms, self.floor_ratio), strict=True))
        return {name: value for name, value in values.items() if value is not None}


def checked(exported: Exported, store: str, say: Callable[[str], None]) -> Checked:
    """Check a folder while nothing else measures here, and add the figures to the run of the conversion.

    Args:
        exported: The folder.
        store: The resolved store of the job.
        say: Is told in one line what is waited for, and why the figures are not in the store.

    Raises:
        AlmaflowError: the model answers otherwise than in the job, or cannot be checked.
    """
    with alone("wait", say):
        found = check_export(exported)
    if found.fault:
        message = f"{exported.directory}: the exported model answers otherwise than when it was measured: {found.fault}"
        raise AlmaflowError(message)
    if run_id := exported.row.outcome.run_id:
        try:
            log_export(store, run_id, found.metrics)
        except AlmaflowError as error:
            say(f"almaflow: {error}")
    return found


def check_export(exported: Exported) -> Checked:
    """Load a folder in a fresh process, run its example, and time further calls.

    The process has the threads and processors of the job. It finds no almaflow, except where the model's own code is
    in there. A model that the user's code builds is built where the job built it, so that its relative paths hold, and
    finds the modules of that directory, of the working directory and of ``PYTHONPATH``.

    Raises:
        AlmaflowError: the process failed, or took too long.
    """
    export, hardware = exported.export, exported.job.hardware
    ours = (export.builder or "").startswith("almaflow.")
    started_in = Path(exported.job.model.directory or ".") if export.builder else exported.directory
    search = [started_in, Path(), *map(Path, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))]
    paths = [str(each.absolute()) for each in search] if export.builder else []
    if ours:
        paths += sys.path
    code = _RUN.format(
        blocked="" if ours else 'sys.modules["almaflow"] = None',
        cpus=tuple(hardware.cpus or ()),
        paths=paths,
        script=str(exported.directory.absolute() / "check.py"),
    )
    failed = f"{exported.directory}: the export cannot be checked"
    # Not isolated (-I), which would hide packages that the user installed for himself.
    environment = os.environ | server_environment(hardware, cuda=export.device == "cuda")
    environment.pop("PYTHONPATH", None)
    try:
        done = subprocess.run(
            [sys.executable, "-B", "-P", "-c", code],
            cwd=started_in if started_in.is_dir() else exported.directory, env=environment,
            capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        message = f"{failed}: no answer within {TIMEOUT_S:g} s; --no-check leaves it out"
        raise AlmaflowError(message) from error
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError) as error:
        message = f"{failed}: {reason_of(done.returncode, done.stderr)}"
        raise AlmaflowError(message) from error
    floor_ms = exported.row.metrics.get("latency/floor")
    return Checked(
        fault=found["fault"],
        sqnr_db=found.get("sqnr_db"),
        load_s=found["load_s"],
        first_call_s=found["first_call_s"],
        floor_ms=found["floor_ms"],
        calls=found["calls"],
        floor_ratio=found["floor_ms"] / floor_ms if floor_ms and exported.job.measure.streams == 1 else None,
    )
