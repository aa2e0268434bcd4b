"""The main job on real models: every core CPU conversion ok, verified, and found in the store by another client."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

CORE = ["EAGER", "COMPILE_INDUCTOR_DEFAULT", "ONNX_CPU", "COMPILE_OPENVINO", "ONNX_CPU_INT8_STATIC"]
HEADLINES = {"latency_ms", "throughput", "speedup/floor_vs_eager", "speedup/floor_vs_inductor"}
PREDICTED = {"predicted_latency_ms", "prediction_error_pct", "prediction_abs_error_pct"}
DETAILS = {
    "latency/floor",
    "latency/iqr",
    "latency/samples",
    "time/load",
    "time/convert",
    "time/first_call",
    "time/total",
    "memory/peak_rss_mb",
    "fidelity/sqnr_db",
    "fidelity/cosine",
    "fidelity/max_abs_diff",
    "fidelity/top1_agreement",
    "noise/cv",
    "noise/stable",
}
PARAMS = {
    "model",
    "hardware",
    "tier",
    "conversion",
    "engine",
    "batch_size",
    "input_shape",
    "dtype",
    "device",
    "threads",
}


@pytest.mark.usefixtures("stored_home")
def test_a_transformer_through_the_runtimes(tmp_path: Path) -> None:
    """Two layers, and without inductor, which compiles the whole for a minute."""
    conversions = ["EAGER", "ONNX_CPU", "OPENVINO"]
    output = tmp_path / "r.json"
    model = ["model=bert", "model.kwargs={num_hidden_layers: 2}"]
    command = [sys.executable, "-m", "almaflow", "run", *model, "hardware=cpu", "measure=quick"]
    command += [f"conversions=[{','.join(conversions)}]", f"output={output}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    job = json.loads(output.read_text(encoding="utf-8"))
    rows = {row["conversion"]: row for row in job["conversions"]}
    assert {name: row["status"] for name, row in rows.items()} == dict.fromkeys(conversions, "ok")
    for name in ("ONNX_CPU", "OPENVINO"):
        assert rows[name]["fidelity/sqnr_db"] > 90, f"{name} does not compute in float32"
    # The fastest one stays, and works by itself.
    best = job["best_conversion"]
    assert f"Kept: {best}, {rows[best]['export/size_mb']:.1f} MB; " in done.stdout
    export = [sys.executable, "-m", "almaflow", "export", job["job_id"], "--to", "shipped"]
    done = subprocess.run(export, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Checked in a fresh process: outputs equal the job's" in done.stdout


@pytest.mark.alma
@pytest.mark.usefixtures("shared_toolchain")
def test_core_conversions(home: Path, tmp_path: Path) -> None:
    output = tmp_path / "r.json"
    command = [sys.executable, "-m", "almaflow", "run", "model=resnet18", "tier=2", "hardware=cpu", "measure=quick"]
    command += ["predicted_latency_ms=20", f"output={output}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    job = json.loads(output.read_text(encoding="utf-8"))
    rows = {row["conversion"]: row for row in job["conversions"]}
    assert list(rows) == CORE
    assert {name: row["status"] for name, row in rows.items()} == dict.fromkeys(CORE, "ok")
    assert job["best_latency_ms"] == min(row["latency_ms"] for row in rows.values())
    for name in ("COMPILE_INDUCTOR_DEFAULT", "ONNX_CPU", "COMPILE_OPENVINO"):
        assert rows[name]["fidelity/sqnr_db"] > 90, f"{name} does not compute in float32"
    assert f"MLflow store: sqlite:///{home}/mlflow.db" in done.stdout.splitlines()[0]
    assert "Recommended" in done.stdout
    assert "almaflow ui" in done.stdout.splitlines()[-1]
    _check_store(f"sqlite:///{home}/mlflow.db", job)


def _check_store(uri: str, job: dict[str, Any]) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("almaflow")
    assert experiment is not None
    for row in job["conversions"]:
        run = client.get_run(row["run_id"])
        assert run.info.status == "FINISHED"
        assert run.data.params["conversion"] == row["conversion"]
        assert run.data.params.keys() >= PARAMS
        assert run.data.metrics.keys() >= HEADLINES | PREDICTED | DETAILS
        assert run.data.metrics["latency_ms"] == pytest.approx(row["latency_ms"], rel=1e-4)
        assert run.data.tags["almaflow.status"] == "ok"
        assert run.data.tags["env.torch"]
        assert {artifact.path for artifact in client.list_artifacts(run.info.run_id)} >= {
            "samples_ms.json",
            "worker.log",
        }
    tags = {run.data.params["conversion"]: run.data.tags for run in _conversion_runs(client, experiment.experiment_id)}
    openvino = tags["COMPILE_OPENVINO"]
    assert int(openvino["almaflow.runtime.openvino_partitions"]) >= 1
    assert openvino["almaflow.runtime.openvino_operations_outside"] == "0"
    assert tags["ONNX_CPU"]["almaflow.runtime.provider"] == "CPUExecutionProvider"
    own = client.search_runs([experiment.experiment_id], "tags.`almaflow.kind` = 'job'")
    assert [run.info.status for run in own] == ["FINISHED"]
    assert {artifact.path for artifact in client.list_artifacts(own[0].info.run_id)} >= {"summary.md", "config.yaml"}


def _conversion_runs(client: Any, experiment_id: str) -> list[Any]:
    return list(client.search_runs([experiment_id], "tags.`almaflow.kind` = 'conversion'"))
