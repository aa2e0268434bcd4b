"""Whole commands with ``fleet=local``: the same results as without a fleet, each once, and no secret anywhere."""

from __future__ import annotations

import re
import signal
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.support.command_directory import LINEAR, Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow.entities import Run
    from tests.faults.commands import Zygote

pytestmark = pytest.mark.slow

JOB = (*LINEAR, "fleet=local", "conversions=[EAGER]")
SECRETS = {
    "MLFLOW_TRACKING_PASSWORD": "pl4nted-MLflow-word",
    "AWS_SECRET_ACCESS_KEY": "pl4ntedAWSkeypl4ntedAWSkey",
    "RAY_AUTH_TOKEN": "pl4nted-Ray-token",
}
USER = "somebody-in-the-queue"
PATIENCE_S = 300.0


@pytest.fixture
def place(tmp_path: Path, zygote: Zygote) -> Place:
    return Place(tmp_path, zygote).with_store()


def runs(place: Place) -> list[Run]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place.home / 'mlflow.db'}")
    return list(client.search_runs([each.experiment_id for each in client.search_experiments()]))


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def measuring(place: Place) -> list[psutil.Process]:
    """The program that runs an order in this place, and all that it started."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command: list[str] = process.info["cmdline"] or []
        if "almaflow.fleet.run_order" in command and str(place.home) in command[-1]:
            found += [process, *process.children(recursive=True)]
    return found


def test_a_coordinator_that_is_killed_leaves_nothing_out_and_no_secret_anywhere(place: Place) -> None:
    sweep = (*JOB, "-m", "batch_size=1,2", f"fleet.user={USER}")
    with place.start(*sweep, **SECRETS) as process:
        wait_for(lambda: len(measuring(place)) > 2)  # with the server of workers
        environments = [Path(f"/proc/{each.pid}/environ").read_bytes() for each in measuring(place)]
        process.kill()
        process.communicate()
    (begun,) = {each.pid for each in measuring(place) if "almaflow.fleet.run_order" in each.cmdline()}
    assert place.run(*sweep, "resume=true", **SECRETS) == 0, place.stderr
    assert not psutil.pid_exists(begun)

    found = Counter((run.data.tags["almaflow.kind"], run.data.params.get("batch_size")) for run in runs(place))
    expected = [("sweep", None), *((kind, size) for kind in ("job", "conversion") for size in ("1", "2"))]
    assert found == Counter(expected)
    assert {run.info.status for run in runs(place)} == {"FINISHED"}
    of_jobs = [run for run in runs(place) if run.data.tags["almaflow.kind"] != "sweep"]
    assert {run.data.tags["almaflow.machine"] for run in of_jobs} == {machine_id_of(place)}

    assert all(b"PATH=" in each for each in environments)
    texts = [*environments, *(path.read_bytes() for path in place.root.rglob("*") if path.is_file())]
    assert not [name for name, secret in SECRETS.items() if any(secret.encode() in each for each in texts)]
    assert not [each for each in environments if re.search(rb"(^|\0)(RAY|MLFLOW|AWS)_", each)]
    artifacts = [path for path in (place.home / "mlartifacts").rglob("*") if path.is_file()]
    assert artifacts
    assert not [path for path in artifacts if USER.encode() in path.read_bytes()]
    assert USER not in str([run.to_dictionary() for run in runs(place)])
    assert not list((place.home / "fleet" / "spool" / "orders").iterdir())

    before = {run.info.run_id for run in runs(place)}
    assert place.run(*sweep, "resume=true") == 0
    assert place.stderr.count("nothing to measure") == 2
    assert {run.info.run_id for run in runs(place)} == before


def machine_id_of(place: Place) -> str:
    return (place.home / "machine_id").read_text().strip()


def test_an_interrupt_keeps_what_was_measured(place: Place) -> None:
    with place.start(
        *JOB, "measure.min_time_s=60", "measure.max_time_s=90", "measure.min_samples=100000000"
    ) as process:
        wait_for(lambda: "timing 1 in turns" in place.stderr)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130, place.stderr
    assert Counter((run.data.tags["almaflow.kind"], run.info.status) for run in runs(place)) == {
        ("job", "KILLED"): 1,
        ("conversion", "KILLED"): 1,
    }
    assert not measuring(place)


def test_a_model_that_does_not_build_there_is_told_in_one_line(place: Place) -> None:
    assert place.run(*JOB, "model._target_=no_such_package.model") == 2
    last = place.stderr.splitlines()[-1]
    assert last.startswith("almaflow: "), place.stderr
    assert "no_such_package" in last
    assert not runs(place)
    assert not list((place.home / "fleet" / "spool" / "orders").iterdir())
