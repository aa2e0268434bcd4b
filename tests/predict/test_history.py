"""Learning from the store: models with their operations, and what was learnt as versions in MLflow's registry."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from tests.support.example_jobs import in_rounds, ok
from tests.support.stored_jobs import PREPARED, new, stored

from almaflow import machine
from almaflow.calibration import calibrate as calibrating
from almaflow.calibration.times import NetworkTimes, load_times, save_times
from almaflow.cli.calibrate import calibrate
from almaflow.config import calibrations as calibration
from almaflow.config.composition import compose
from almaflow.errors import UsageError
from almaflow.jobs.request import make_request
from almaflow.predict import workloads
from almaflow.predict.forecast import forecasts
from almaflow.records import DynamicDim, Operation, Workload
from almaflow.tracking.registry import model_name, publish
from almaflow.tracking.session import connect
from almaflow.tracking.training_data import measured_models
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from almaflow.records import Job, Outcome


def took(conversion: str, time_ms: float) -> Outcome:
    """One call, beside which the control takes 5 ms."""
    return in_rounds(ok(conversion), [time_ms], calls=1)


def work(flops: float) -> Workload:
    sizes = {"m": 64, "n": 64, "k": int(flops / 8192), "groups": 1}
    return Workload((Operation("addmm", "matmul", flops, 1e6, 4e6, 1e6, (64, 64), "float32", sizes),), 4.0, 1)


def job_of(job_id: str, name: str, flops: float, at: float) -> Job:
    made = new(job_id)
    prepared = replace(PREPARED, workload=work(flops))
    model = replace(made.model, name=name)
    return replace(made, model=model, prepared=prepared, environment={"cpu": "A CPU"}, started_at=at)


def found(threads: int) -> list[tuple[str, str, float, float]]:
    models = measured_models(
        resolve_uri(None), "almaflow", {"tags.`env.cpu`": "A CPU", "params.threads": str(threads)}, str(Path.cwd())
    )
    return sorted((each.model, each.conversion, each.floor_ms, each.workload.flops) for each in models)


@pytest.fixture
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_here")
def test_the_newest_measurement_of_each_with_its_operations() -> None:
    stored("one", took("EAGER", 20.0), took("ONNX_CPU", 10.0), made=job_of("one", "a", 1e9, 100.0))
    stored("two", took("EAGER", 30.0), made=job_of("two", "b", 2e9, 200.0))
    stored("three", replace(took("EAGER", 22.0), started_at=400.0), made=job_of("three", "a", 1e9, 300.0))
    old = replace(job_of("old", "c", 1e9, 50.0), prepared=PREPARED)
    stored("old", took("EAGER", 5.0), made=old)  # of an almaflow that kept no operations
    threads = new("one").hardware.threads
    assert found(threads) == [("a", "EAGER", 22.0, 1e9), ("a", "ONNX_CPU", 10.0, 1e9), ("b", "EAGER", 30.0, 2e9)]
    assert found(threads + 1) == []


@pytest.mark.usefixtures("_here")
def test_a_fixed_and_a_dynamic_measurement_are_two() -> None:
    made = job_of("one", "a", 1e9, 100.0)
    stored("one", took("EAGER", 20.0), made=made)
    dynamic = replace(job_of("two", "a", 1e9, 200.0), model=replace(made.model, dynamic=(DynamicDim("batch"),)))
    stored("two", took("EAGER", 22.0), made=dynamic)
    assert [floor for _, _, floor, _ in found(made.hardware.threads)] == [20.0, 22.0]


def calibrated(threads: int, cpu: str = "A CPU") -> tuple[NetworkTimes, calibration.Calibration]:
    workloads = {f"linear-{number}": work(number * 1e8) for number in range(1, 7)}
    floors = {name: each.flops / 1e8 for name, each in workloads.items()}
    times = NetworkTimes(workloads, {"EAGER": floors}, {"EAGER": 5.0}, "2026-11-25")
    learnt = {"kernels": calibrating.learn(times)}
    made = calibration.Calibration("here", "cpu", cpu, "a CPU", threads, {"gflops": {"float32": 10.0}}, learnt)
    calibration.config_path("here").parent.mkdir(parents=True)
    calibration.config_path("here").write_text(calibration.text_of(made), encoding="utf-8")
    save_times("here", times)
    return times, made


@pytest.mark.usefixtures("_here")
def test_learnt_again_with_what_the_store_has_and_registered() -> None:
    """The models take twice as long as what was learnt from small networks says."""
    _, before = calibrated(new("x").hardware.threads)
    for number in range(2, 6):
        name = f"m{number}"
        stored(name, took("EAGER", 2.0 * number), made=job_of(name, name, number * 1e8, 100.0))
    done = CliRunner().invoke(calibrate, ["--history"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "learnt from 4 measurements of 4 models" in done.output
    after = calibration.read("here")
    assert after.learnt["kernels"] == before.learnt["kernels"]
    history = after.learnt["history"]
    assert len(history.runs) == 4
    client = connect(resolve_uri(None))
    (version,) = client.search_model_versions(f"name = '{model_name('here')}'")
    assert version.tags["almaflow.learnt_from"] == "history"
    assert version.tags["almaflow.predictor_version"] == history.version
    assert version.run_id is not None
    path = client.download_artifacts(version.run_id, "calibration/runs.json")
    assert json.loads(Path(path).read_text(encoding="utf-8"))["runs"] == list(history.runs)
    kept = client.download_artifacts(version.run_id, "calibration/here.yaml")
    assert Path(kept).read_text(encoding="utf-8") == calibration.config_path("here").read_text(encoding="utf-8")


def test_what_was_learnt_is_registered_once() -> None:
    times, made = calibrated(2)
    learnt, files = made.learnt["kernels"], [calibration.config_path("here")]
    other = calibrating.learn(replace(times, control_ms={"EAGER": 2.0}))
    uri = resolve_uri(None)
    numbers = [publish(uri, "almaflow", "here", "kernels", each, files) for each in (learnt, learnt, other, learnt)]
    assert numbers == ["1", "1", "2", "1"]


def test_nothing_to_learn_from_is_one_line() -> None:
    with pytest.raises(UsageError, match="run `almaflow calibrate --name here` first"):
        CliRunner().invoke(calibrate, ["--history"], catch_exceptions=False)
    times, made = calibrated(2)
    calibration.config_path("here").write_text(calibration.text_of(replace(made, learnt={})), encoding="utf-8")
    with pytest.raises(UsageError, match="nothing to correct"):
        CliRunner().invoke(calibrate, ["--history"], catch_exceptions=False)
    calibration.config_path("here").write_text(calibration.text_of(made), encoding="utf-8")
    assert load_times("here") == times
    with pytest.raises(UsageError, match="no measurement on A CPU with 2 threads"):
        CliRunner().invoke(calibrate, ["--history"], catch_exceptions=False)
    with pytest.raises(UsageError, match="cannot be written"):
        CliRunner().invoke(
            calibrate, ["--output", str(calibration.config_path("here") / "x.yaml")], catch_exceptions=False
        )
    with pytest.raises(UsageError, match="leave out --quick"):
        CliRunner().invoke(calibrate, ["--history", "--quick"], catch_exceptions=False)


def test_jobs_and_forecasts_here_predict_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workloads, "_counted", lambda _: work(3e8))
    here = machine.describe()
    _, made = calibrated(here.threads, here.cpu)
    job = compose(["model=simple", "hardware=cpu", "predictor=calibrated"])
    found = {each.conversion.name: each.prediction for each in forecasts(job, pytest.fail)}
    prediction = found["EAGER"]
    assert (prediction.predictor, prediction.version) == ("calibrated", made.learnt["kernels"].version)
    assert prediction.latency_ms == pytest.approx(3.0, rel=0.3)
    assert prediction.low_ms is not None
    assert prediction.high_ms is not None
    assert prediction.low_ms <= prediction.high_ms
    assert "calibrated" not in {each.predictor for name, each in found.items() if name != "EAGER"}
    assert make_request(job).learnt == made.learnt
    assert make_request(job).config["hardware"]["learnt"] == {}
