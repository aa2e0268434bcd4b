"""Several processes that write a job each to one store, at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import traceback
from dataclasses import replace
from pathlib import Path

from tests.support.example_jobs import job, ok
from tests.support.markdown_documents import ROOT

from almaflow.records import write_json
from almaflow.tracking.replay import Result, catch_up
from almaflow.tracking.session import quiet

NAMES = tuple(f"CONVERSION_{number}" for number in range(5))


def write(uri: str, job_id: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        outcomes = [ok(name) for name in NAMES]
        made = replace(job(*outcomes), job_id=job_id, directory=directory, started_at=1.0, ended_at=500.0)
        results = []
        for outcome in outcomes:
            place = Path(directory, outcome.planned.name)
            place.mkdir()
            write_json(place / "outcome.json", outcome)
            results.append(Result(outcome, {"latency_ms": 1.0}, place))
        tracker, _ = catch_up(uri, made, results)
        assert tracker
        tracker.close(made, {}, "", None)


def write_in_forks(uri: str, count: int) -> None:
    """Import MLflow, fork a process for each job, and exit with the number of those that failed."""
    with quiet():
        pids = []
        for number in range(count):
            pid = os.fork()
            if pid == 0:
                try:
                    write(uri, f"job-{number}")
                except BaseException:  # noqa: BLE001 - the fork ends here, whatever happens
                    traceback.print_exc()
                    os._exit(1)
                os._exit(0)
            pids.append(pid)
        sys.exit(sum(os.waitpid(pid, 0)[1] != 0 for pid in pids))


def write_at_once(uri: str, count: int = 4) -> None:
    """Start the processes, wait for all, and fail where one did. They are forks, since MLflow imports for seconds."""
    script = f"from tests.support.concurrent_writers import write_in_forks; write_in_forks({uri!r}, {count})"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
