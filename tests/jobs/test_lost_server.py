"""Nothing is lost to a tracking server that is down: a real one over PostgreSQL, killed in the middle of a sweep."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING

import pytest
from tests.support.command_directory import LINEAR, Place
from tests.support.concurrent_writers import NAMES as MADE
from tests.support.concurrent_writers import write_at_once
from tests.support.real_servers import mlflow_server, postgres

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.entities import Run
    from tests.faults.commands import Zygote
    from tests.support.real_servers import MlflowServer

pytestmark = pytest.mark.slow

SIZES = (1, 2)
NAMES = ("EAGER", "EXPORT+EAGER")


def runs(uri: str) -> list[Run]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    return list(client.search_runs([each.experiment_id for each in client.search_experiments()]))


def conversions(uri: str) -> dict[tuple[str, str], list[Run]]:
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs(uri):
        if run.data.tags["almaflow.kind"] == "conversion":
            found.setdefault((run.data.params["batch_size"], run.data.params["conversion"]), []).append(run)
    return found


def wait_for_a_run(server: MlflowServer, within_s: float = 120) -> None:
    deadline = time.monotonic() + within_s
    while not any(run.data.tags["almaflow.kind"] == "conversion" for run in runs(server.uri)):
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_a_server_that_is_killed_costs_nothing(tmp_path: Path, zygote: Zygote) -> None:
    place = Place(tmp_path, zygote)
    with postgres() as store, mlflow_server(tmp_path, store) as server:
        tracking = f"tracking.uri={server.uri}"
        sizes = f"batch_size={','.join(map(str, SIZES))}"
        with place.start(*LINEAR, "-m", sizes, f"conversions=[{','.join(NAMES)}]", tracking) as process:
            wait_for_a_run(server)
            server.kill()
            out, _ = process.communicate()
        assert process.returncode == 0, out + place.stderr
        # Once for the job in whose middle it was lost, if it was, and once for each that began without it.
        assert len(SIZES) - 1 <= place.stderr.count("`almaflow sync` writes what is missing") <= len(SIZES)
        assert "Not all of it is in the store yet" in out
        server.start()
        written = place.almaflow("sync", "--uri", server.uri)
        assert written.returncode == 0, written.stdout + written.stderr
        found = conversions(server.uri)
        assert sorted(found) == sorted((str(size), name) for size in SIZES for name in NAMES)
        for key, (run, *more) in found.items():
            assert not more, f"{key} is there {len(more) + 1} times"
            assert run.info.status == "FINISHED"
            assert run.data.metrics["latency_ms"] > 0
            assert run.data.metrics["speedup/floor_vs_eager"] > 0
        jobs = [run for run in runs(server.uri) if run.data.tags["almaflow.kind"] == "job"]
        assert [run.info.status for run in jobs] == ["FINISHED"] * len(SIZES)
        (sweep,) = (run for run in runs(server.uri) if run.data.tags["almaflow.kind"] == "sweep")
        assert sweep.data.metrics["conversions_ok"] == len(SIZES) * len(NAMES)
        write_at_once(server.uri, 2)  # other jobs, which disturb nothing
        again = place.almaflow("sync", "--uri", server.uri)
        assert "has everything that was measured for it" in again.stdout
        assert len(runs(server.uri)) == len(SIZES) * (len(NAMES) + 1) + 1 + 2 * (len(MADE) + 1)


def test_a_server_that_takes_connections_and_never_answers_is_waited_for_once(tmp_path: Path, zygote: Zygote) -> None:
    place = Place(tmp_path, zygote)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        arguments = (*LINEAR, "conversions=[EAGER]", f"tracking.uri={uri}")
        assert place.run(*arguments, MLFLOW_HTTP_REQUEST_TIMEOUT="1") == 0, place.stderr
    assert time.monotonic() - began < 60
    assert place.stderr.count("`almaflow sync` writes what is missing") == 1
    (directory,) = (place.home / "jobs").iterdir()
    assert json.loads((directory / "job.json").read_text(encoding="utf-8"))["tracked"] is False
