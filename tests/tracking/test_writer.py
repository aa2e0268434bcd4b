"""What an independent MLflow client finds after a job was written."""

from __future__ import annotations

import json
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.example_jobs import failed, ok, unavailable
from tests.support.example_jobs import job as job_of
from tests.support.real_servers import mlflow_server

from almaflow.errors import TrackingError
from almaflow.records import FailureKind, Job, Status
from almaflow.tracking.session import MLFLOW_DEFAULTS
from almaflow.tracking.store import newest_job
from almaflow.tracking.writer import Tracker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities import Run

pytestmark = pytest.mark.slow

METRICS = {"latency_ms": 10.5, "throughput": 95.2, "latency/p90": 11.0}
USER = "somebodys-name"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory of this module's own, since making a store takes a second, and a user who must not be named."""
    place = tmp_path_factory.mktemp("tracking")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LOGNAME", "USER", "MLFLOW_TRACKING_USERNAME"):
            patch.setenv(name, USER)
        for name, value in MLFLOW_DEFAULTS.items():
            patch.setenv(name, value)
        yield place


def store_in(place: Path) -> str:
    return f"sqlite:///{place}/mlflow.db"


def make_job(place: Path, job_id: str = "job-1") -> Job:
    directory = place / "jobs" / job_id
    directory.mkdir(parents=True)
    return replace(
        job_of(),
        job_id=job_id,
        sweep_id="sweep-1",
        directory=str(directory),
        experiment_name="almaflow-tests",
        ended_at=400.25,
    )


def found(uri: str, job: Job, kind: str = "conversion") -> list[Run]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(job.experiment_name)
    assert experiment is not None
    wanted = f"tags.`almaflow.job_id` = '{job.job_id}' and tags.`almaflow.kind` = '{kind}'"
    return list(client.search_runs([experiment.experiment_id], wanted))


def artifacts(uri: str, run_id: str) -> dict[str, str]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    return {
        entry.path: Path(client.download_artifacts(run_id, entry.path)).read_text(encoding="utf-8")
        for entry in client.list_artifacts(run_id)
    }


def one_job(uri: str, job: Job) -> Tracker:
    tracker = Tracker.open(uri, job)
    results = Path(job.directory) / "EAGER"
    results.mkdir()
    (results / "samples.json").write_text(json.dumps([10.0, 11.0]), encoding="utf-8")
    tracker.log_outcome(job, ok("EAGER"), METRICS, results)
    tracker.log_outcome(job, failed("EXPORT+EAGER", FailureKind.TIMEOUT), {"time/total": 600.0}, None)
    tracker.log_outcome(job, unavailable("TENSORRT"), {}, None)
    tracker.log_outcome(job, replace(failed("ONNX_CPU"), interrupted=True), {}, None)
    summary = Path(job.directory) / "summary"
    summary.mkdir()
    (summary / "summary.md").write_text("# Summary", encoding="utf-8")
    tracker.close(job, {"conversions_ok": 1, "conversions_failed": 2}, "| a | b |", summary)
    return tracker


def check_job(uri: str, job: Job, tracker: Tracker) -> None:
    runs = {run.data.params["conversion"]: run for run in found(uri, job)}
    assert {name: run.info.status for name, run in runs.items()} == {
        "EAGER": "FINISHED",
        "EXPORT+EAGER": "FAILED",
        "TENSORRT": "FAILED",
        "ONNX_CPU": "KILLED",
    }
    eager = runs["EAGER"]
    assert eager.data.metrics == METRICS
    assert eager.info.run_name == "EAGER resnet18 b2"
    assert (eager.info.start_time, eager.info.end_time) == (100_000, 130_000)
    assert eager.data.params["model"] == "resnet18"
    assert eager.data.params["measure.min_samples"] == "64"
    assert eager.data.tags["almaflow.status"] == "ok"
    assert eager.data.tags["almaflow.sweep_id"] == "sweep-1"
    assert eager.data.tags["almaflow.job_run_id"] == tracker.run_id
    assert artifacts(uri, eager.info.run_id) == {"samples.json": "[10.0, 11.0]"}
    assert runs["EXPORT+EAGER"].data.tags["almaflow.failure"] == "timeout"
    assert runs["TENSORRT"].data.metrics == {}
    [own] = found(uri, job, kind="job")
    assert own.info.run_id == tracker.run_id
    assert own.info.status == "FINISHED"
    assert own.info.run_name == "resnet18 b2 tier 2"
    assert own.info.end_time == 400_250
    assert own.data.metrics == {"conversions_ok": 1, "conversions_failed": 2}
    assert own.data.params["tier"] == "2"
    assert own.data.tags["mlflow.note.content"] == "| a | b |"
    assert artifacts(uri, own.info.run_id) == {"summary.md": "# Summary"}
    private = (USER, socket.gethostname(), str(Path.home()), str(Path(job.directory)), sys.argv[0])
    for run in [own, *runs.values()]:
        assert "mlflow.parentRunId" not in run.data.tags
        shown = [run.info.user_id or "", *run.data.tags.values(), *run.data.params.values()]
        assert not [text for text in shown for secret in private if secret in text]


def test_an_independent_client_finds_the_job_under_the_contracts_names(place: Path) -> None:
    uri, job = store_in(place), make_job(place)
    tracker = one_job(uri, job)
    check_job(uri, job, tracker)
    newest = newest_job(uri)
    assert newest
    assert (newest[0].info.run_id, newest[1]) == (tracker.run_id, "almaflow-tests")
    assert list((place / "mlartifacts" / "almaflow-tests").rglob("samples.json"))


@pytest.mark.parametrize(
    ("status", "interrupted", "expected"),
    [(Status.OK, False, "FINISHED"), (Status.FAILED, False, "FAILED"), (Status.OK, True, "KILLED")],
)
def test_how_a_job_ends(place: Path, *, status: Status, interrupted: bool, expected: str) -> None:
    uri, job = store_in(place), make_job(place, f"ends-{expected}")
    tracker = Tracker.open(uri, job)
    assert found(uri, job, kind="job")[0].info.status == "RUNNING"
    tracker.close(replace(job, interrupted=interrupted), {}, "", None, status)
    assert found(uri, job, kind="job")[0].info.status == expected


def test_more_than_a_batch_call_takes_is_stored_whole(place: Path) -> None:
    uri, job = store_in(place), make_job(place, "many")
    metrics = {f"latency/m{number}": float(number) for number in range(1950)}
    Tracker.open(uri, job).log_outcome(job, ok("EAGER"), metrics, None)
    assert found(uri, job)[0].data.metrics == metrics


def test_a_figure_that_is_none_leaves_no_run(place: Path) -> None:
    uri, job = store_in(place), make_job(place, "nan")
    tracker = Tracker.open(uri, job)
    with pytest.raises(ValueError, match="latency_ms"):
        tracker.log_outcome(job, ok("EAGER"), {"latency_ms": float("nan")}, None)
    assert found(uri, job) == []


def test_half_a_run_is_taken_back(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri, job = store_in(place), make_job(place, "half")
    tracker = Tracker.open(uri, job)

    def fails(*_: object, **__: object) -> None:
        message = "disk\nfull"
        raise OSError(message)

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.log_batch", fails)
        with pytest.raises(
            TrackingError, match=r"EAGER could not be written .*\(disk full\); its results are kept in "
        ):
            tracker.log_outcome(job, ok("EAGER"), METRICS, None)
    assert found(uri, job) == []
    tracker.log_outcome(job, ok("EAGER"), METRICS, None)
    assert len(found(uri, job)) == 1


@pytest.mark.parametrize("missing", ["directory", "file"])
def test_files_that_cannot_be_copied_cost_no_figures(place: Path, missing: str) -> None:
    uri, job = store_in(place), make_job(place, f"missing-{missing}")
    files = Path(job.directory) / "EAGER"
    if missing == "file":
        files.mkdir()
        (files / "log.txt").symlink_to(files / "not-there")
    with pytest.raises(TrackingError, match=r"EAGER could not be written .*its results are kept in"):
        Tracker.open(uri, job).log_outcome(job, ok("EAGER"), METRICS, files)
    [run] = found(uri, job)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == METRICS


def test_a_server_gets_the_same_and_its_loss_is_one_line(
    place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    job = make_job(place, "served")
    with mlflow_server(tmp_path) as server:
        tracker = one_job(server.uri, job)
        check_job(server.uri, job, tracker)
    capfd.readouterr()
    started = time.monotonic()
    with pytest.raises(TrackingError) as caught:
        tracker.log_outcome(job, ok("EAGER"), METRICS, None)
    assert time.monotonic() - started < 15
    assert "\n" not in str(caught.value)
    assert job.directory in str(caught.value)
    assert capfd.readouterr().err == ""
