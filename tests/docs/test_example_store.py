"""The example store opens wherever it is copied to, and names no machine."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import pytest
from click.testing import CliRunner
from tests.support.markdown_documents import ROOT
from tests.support.real_servers import free_port

from almaflow.cli import almaflow

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = ROOT / "mlruns_example"
MODELS = {"resnet18", "mobilenet_v2", "efficientnet_b0", "vit_b_32"}
PLACES = re.compile(
    rb"(?<![\w.])/(?:home|root|Users|tmp|work|mnt)/[\w.-]+|https?://(?!www\.w3\.org/)[\w.:/-]+|file:/+\w+"
)
"""Paths and addresses, but for the names that SVG has for its parts."""

NIGHTS = 6
"""With each version of ONNX Runtime."""
MOST_BYTES = 12_000_000


def test_it_is_small_and_names_no_place() -> None:
    files = [path for path in EXAMPLE.rglob("*") if path.is_file() and path.name != "README.md"]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    found = {str(path.relative_to(EXAMPLE)): PLACES.findall(path.read_bytes())[:3] for path in files}
    assert {name: places for name, places in found.items() if places} == {}


@pytest.mark.slow
def test_the_series_has_a_step_whose_cause_is_named(tmp_path: Path) -> None:
    """ONNX Runtime's version: mobilenet_v3_large got faster with it, squeezenet1_1 did not, and eager knows nothing."""
    shutil.copy(EXAMPLE / "mlflow.db", tmp_path)
    asked = ["accuracy", "--uri", f"sqlite:///{tmp_path}/mlflow.db", "--experiment", "nightly", "--json"]
    found = json.loads(CliRunner().invoke(almaflow, asked, catch_exceptions=False, standalone_mode=False).stdout)
    series = {(each["model"], each["conversion"]): each for each in found["series"]}
    assert {key for key, each in series.items() if each["n"] == 2 * NIGHTS} == {
        (model, conversion) for model in ("squeezenet1_1", "mobilenet_v3_large") for conversion in ("EAGER", "ONNX_CPU")
    }
    (change,) = series["mobilenet_v3_large", "ONNX_CPU"]["changes"]
    assert change["cause"] == "version"
    assert change["environment"]["onnxruntime"][0] == "1.20.1"
    assert change["run_id"] == series["mobilenet_v3_large", "ONNX_CPU"]["points"][NIGHTS]["run_id"]


@pytest.mark.slow
def test_a_copy_opens_by_mlflows_own_command(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    copy = tmp_path / "elsewhere"
    shutil.copytree(EXAMPLE, copy)
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "ui", "--workers", "1", "--port", str(port)]
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(command, cwd=copy, stdout=log, stderr=log, start_new_session=True)
    base = f"http://127.0.0.1:{port}"
    opener = build_opener(ProxyHandler({}))
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                opener.open(f"{base}/health", timeout=5)
                break
            except (URLError, OSError):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.3)
        client = MlflowClient(tracking_uri=base)
        experiment = client.get_experiment_by_name("example")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id], max_results=500)
        kinds = Counter(run.data.tags["almaflow.kind"] for run in runs)
        assert kinds == {"sweep": 1, "job": 8, "conversion": 40, "predictor": 1}
        conversions = [run for run in runs if run.data.tags["almaflow.kind"] == "conversion"]
        assert {run.data.params["model"] for run in conversions} == MODELS
        assert {run.data.params["batch_size"] for run in conversions} == {"1", "4"}
        for run in conversions:
            assert run.data.tags["almaflow.status"] == "ok"
            assert "prediction_error_pct" in run.data.metrics
            assert "prediction/roofline/floor_error_pct" in run.data.metrics
        run = conversions[0]
        address = f"{base}/get-artifact?path=samples_ms.json&run_uuid={run.info.run_id}"
        with opener.open(address, timeout=30) as answer:
            assert len(json.load(answer)) == run.data.metrics["latency/samples"]
        assert any(name.startswith("mlflow.sharedViewState.almaflow") for name in experiment.tags)
        followed = client.get_experiment_by_name("nightly accuracy")
        assert followed is not None
        for summary in client.search_runs([followed.experiment_id]):
            errors = client.get_metric_history(summary.info.run_id, "error_pct")
            assert len(errors) == 2 * NIGHTS
    finally:
        log.close()
        process.send_signal(signal.SIGTERM)
        process.wait(30)
