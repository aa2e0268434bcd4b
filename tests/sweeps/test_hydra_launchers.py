"""A sweep whose jobs Hydra's launchers run in processes of their own."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.support.command_directory import LINEAR, Place

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def test_submitit_runs_the_jobs_one_after_the_other_with_one_record(tmp_path: Path) -> None:
    """Both are started at once, and the lock of the machine lets only one of them measure."""
    from mlflow import MlflowClient

    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs hydra-submitit-launcher")
    place = Place(tmp_path).with_store()
    with place.start(
        *LINEAR, "-m", "hydra/launcher=submitit_local", "batch_size=1,2", "conversions=[EAGER]"
    ) as process:
        out, _ = process.communicate()
    assert process.returncode == 0, out + place.stderr
    assert "2 jobs" in out
    assert "Linear b1 " in out
    client = MlflowClient(f"sqlite:///{place.home / 'mlflow.db'}")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    of_kind = {
        kind: [run for run in runs if run.data.tags["almaflow.kind"] == kind] for kind in ("job", "conversion", "sweep")
    }
    assert {kind: len(found) for kind, found in of_kind.items()} == {"job": 2, "conversion": 2, "sweep": 1}
    assert {run.data.tags["almaflow.sweep_id"] for run in runs} == {of_kind["sweep"][0].data.tags["almaflow.sweep_id"]}
    first, second = sorted(of_kind["conversion"], key=lambda run: run.info.start_time)
    assert first.info.end_time <= second.info.start_time, "they measured at the same time"


def test_a_job_whose_process_was_killed_is_one_line_and_is_named(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs hydra-submitit-launcher")
    place = Place(tmp_path).with_store()
    with place.start(*LINEAR, "-m", "hydra/launcher=submitit_local", "batch_size=2", "conversions=[EAGER]") as process:
        while not (begun := list(place.home.glob("sweeps/*/jobs/*.begun"))):
            assert process.poll() is None, place.stderr
            time.sleep(0.1)
        # The processes of submitit: its controller, and the job below it.
        below = psutil.Process(process.pid).children(recursive=True)
        jobs = [each for each in below if "submitit.core._submit" in " ".join(each.cmdline())]
        os.kill(max(jobs, key=lambda each: each.create_time()).pid, signal.SIGKILL)
        out, _ = process.communicate()
    assert process.returncode == 1
    assert len(begun) == 1
    assert "began and did not end: its process or machine was lost" in " ".join(out.split())
    assert "ended without a result" in place.stderr
    assert "Traceback" not in place.stderr
