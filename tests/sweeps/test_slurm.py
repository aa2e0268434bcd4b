"""A sweep on a Slurm cluster, through Hydra's launcher of submitit: real daemons on simulated machines."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.command_directory import LINEAR, Place
from tests.support.slurm_cluster import NEEDS, SlurmCluster, can_run_slurm

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not can_run_slurm(), reason=NEEDS)]

NODES = {"one": "r6i_large", "two": "g4dn_xlarge"}
SLURM = ("hydra/launcher=submitit_slurm", "+hydra.launcher.additional_parameters={exclusive: true}")
# Each machine has a lock of its own; that of tests has a name that all processes of a test share.
LOCK = 'hydra.launcher.setup=["export ALMAFLOW_TEST_LOCK=$SLURMD_NODENAME"]'


@pytest.fixture(name="shared", scope="module")
def shared_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs hydra-submitit-launcher")
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(name="cluster", scope="module")
def cluster_fixture(shared: Path) -> Iterator[SlurmCluster]:
    with SlurmCluster.started(shared, NODES) as cluster:
        yield cluster


def sweep(cluster: SlurmCluster, place: Place, *words: str) -> tuple[int, str]:
    environment = place.environment({"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])})
    command = (sys.executable, "-m", "almaflow", "run", *LINEAR, "-m", "conversions=[EAGER]", *SLURM, LOCK, *words)
    done = cluster.run(*command, **environment)
    return done.returncode, done.stdout + done.stderr


def test_nodes_of_the_kind_measure_one_job_at_a_time(cluster: SlurmCluster, shared: Path) -> None:
    from mlflow import MlflowClient

    place = Place(shared).with_store()
    code, told = sweep(cluster, place, "batch_size=1,2", "hydra.launcher.constraint=g4dn_xlarge")
    assert code == 0, told
    assert "2 jobs" in told
    client = MlflowClient(f"sqlite:///{place.home / 'mlflow.db'}")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    kinds = sorted(run.data.tags["almaflow.kind"] for run in runs)
    assert kinds == ["conversion"] * 2 + ["job"] * 2 + ["sweep"]

    jobs = cluster.jobs()
    assert len(jobs) == 2
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    assert {job["OverSubscribe"] for job in jobs} == {"NO"}
    assert {job["NodeList"] for job in jobs} == {"two"}, "the other one was free, and is of another kind"
    first, second = sorted(times(job) for job in jobs)
    assert first[1] <= second[0], "both measured at once"


def times(job: dict[str, str]) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(job["StartTime"]), datetime.fromisoformat(job["EndTime"])


def test_what_slurm_refuses_is_one_line(cluster: SlurmCluster, shared: Path) -> None:
    place = Place(shared / "refused")
    place.root.mkdir()
    code, told = sweep(cluster, place.with_store(), "batch_size=1,2", "hydra.launcher.constraint=nobody")
    assert code == 2, told
    assert "almaflow: the cluster refused the jobs: " in told
    assert "Invalid feature specification" in told
    assert "Traceback" not in told
