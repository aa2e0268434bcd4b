"""Logged models of a real job: one over HTTP by MLflow's scoring server, the others loaded where almaflow is not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

import numpy as np
import pytest
from tests.support.command_directory import QUICK, Place
from tests.support.real_servers import STARTS_WITHIN_S, free_port

from almaflow.tracking.converted_models import register_model

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

MODULE = """
import torch

class Scored(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(20, 8)
        self.head = torch.nn.Linear(8, 6)

    def forward(self, x, tokens):
        scores = self.head(self.table(tokens).mean(1) + x)
        return {"scores": scores, "top": scores.argmax(1)}
"""
ARGUMENTS = (
    "model=custom",
    "model._target_=my_scores.Scored",
    "model.inputs=[{shape: [8], name: x}, {shape: [5], dtype: int64, low: 0, high: 20, name: tokens}]",
    "batch_size=2",
    "conversions=[EAGER,ONNX_CPU,OPENVINO]",
    "log_models=all",
    "hardware=cpu",
    "hardware.threads=1",
    *QUICK,
)
LOADED = """
import json, sys
sys.modules["almaflow"] = None
sys.path.append(sys.argv[1])
import mlflow, numpy as np
given = {name: np.array(values, kind) for name, (values, kind) in json.loads(sys.argv[2]).items()}
found = {}
for model_id in sys.argv[3:]:
    answer = mlflow.pyfunc.load_model(f"models:/{model_id}").predict(given)
    found[model_id] = {name: [each.dtype.name, each.tolist()] for name, each in answer.items()}
print(json.dumps(found))
"""


@contextmanager
def served(uri: str, store: str, root: Path) -> Iterator[str]:
    """The address of MLflow's scoring server for one model."""
    port, log_path = free_port(), root / "serve.log"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--host", "127.0.0.1"]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--model-uri", uri],
            env={**os.environ, "PATH": path, "MLFLOW_TRACKING_URI": store, "MLFLOW_DISABLE_TELEMETRY": "true"},
            cwd=root, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + STARTS_WITHIN_S
    try:
        while not _answers(address):
            assert process.poll() is None, log_path.read_text()
            assert time.monotonic() < deadline, log_path.read_text()
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def _answers(address: str) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(f"{address}/ping", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def posted(address: str, inputs: dict[str, Any]) -> Any:
    """The answer to plain JSON."""
    body = json.dumps({"inputs": inputs}).encode()
    request = Request(f"{address}/invocations", body, {"Content-Type": "application/json"})  # noqa: S310 - http
    with build_opener(ProxyHandler({})).open(request, timeout=60) as answer:
        return json.load(answer)["predictions"]


def test_logged_models_answer_over_http_and_where_almaflow_is_not(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    place = Place(tmp_path).with_store()
    (tmp_path / "my_scores.py").write_text(MODULE, encoding="utf-8")
    assert place.run(*ARGUMENTS) == 0, place.stderr
    store, client = f"sqlite:///{place.home}/mlflow.db", MlflowClient(f"sqlite:///{place.home}/mlflow.db")
    experiments = [each.experiment_id for each in client.search_experiments()]
    models = {each.params["conversion"]: each for each in client.search_logged_models(experiments)}
    assert models.keys() == {"EAGER", "ONNX_CPU", "OPENVINO"}
    for name, run in place.runs().items():
        if name != "job":
            assert {each.key: each.value for each in models[name].metrics or ()} == run.data.metrics
            assert {"latency/floor", "latency/mean", "fidelity/sqnr_db", "export/size_mb"} <= run.data.metrics.keys()

    directory, _ = place.job()
    with np.load(directory / "kept" / "ONNX_CPU" / "example.npz") as stored:
        given = {"x": stored["input_0"], "tokens": stored["input_1"]}
        expected = {"scores": stored["output_0"], "top": stored["output_1"]}

    assert register_model(store, models["ONNX_CPU"].model_id, "tiny", "best") == "1"
    with served("models:/tiny@best", store, tmp_path) as address:
        answer = posted(address, {name: each.tolist() for name, each in given.items()})
        np.testing.assert_allclose(answer["scores"], expected["scores"], rtol=1e-4, atol=1e-5)
        assert answer["top"] == expected["top"].tolist()
        with pytest.raises(HTTPError) as refused:
            posted(address, {name: each[:1].tolist() for name, each in given.items()})
        told = json.loads(refused.value.read())["message"]
        assert "Shape of input (1, 8) does not match expected shape (2, 8)" in told

    words = json.dumps({name: [each.tolist(), each.dtype.name] for name, each in given.items()})
    ids = [models[name].model_id for name in ("EAGER", "OPENVINO")]
    done = subprocess.run(
        [sys.executable, "-P", "-I", "-c", LOADED, str(tmp_path), words, *ids],
        env=os.environ | {"MLFLOW_TRACKING_URI": store, "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for answer in json.loads(done.stdout.splitlines()[-1]).values():
        assert (answer["scores"][0], answer["top"]) == ("float32", ["int64", expected["top"].tolist()])
        np.testing.assert_allclose(answer["scores"][1], expected["scores"], rtol=1e-4, atol=1e-5)
