"""Several processes that write a job each to one store, at the same time."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.support.example_jobs import job, ok
from tests.support.markdown_documents import ROOT

from almaflow.records import write_json
from almaflow.tracking.replay import Result, catch_up

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


def write_at_once(uri: str, count: int = 4) -> None:
    """Start the processes, wait for all, and fail where one did."""
    script = "import sys; from tests.support.concurrent_writers import write; write(*sys.argv[1:])"
    processes = [
        subprocess.Popen([sys.executable, "-c", script, uri, f"job-{number}"], cwd=ROOT, stderr=subprocess.PIPE)
        for number in range(count)
    ]
    for process in processes:
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error.decode()
