"""Make ``mlruns_example/``: a real sweep and a real series in a store that opens wherever it is copied to.

The sweep: four models, one image at a time and four, the core conversions, each judged against a prediction that the
caller gives: the operations of one forward call at 100 GFLOP/s (twice the GMACs of torchvision's documentation), and
against a roofline of this machine.

The series: two models, measured several times by eager PyTorch and ONNX Runtime beside what ``almaflow calibrate`` says
that they take, the first half of the times with an older ONNX Runtime: a step whose cause is known.

The runs are written through an MLflow server, since a server's artifact URIs hold no path. Measure alone: it takes
forty minutes.
"""

from __future__ import annotations

import argparse
import getpass
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from almaflow.tracking.ui_pages import prepare_pages
from almaflow.tracking.ui_server import free_port, serving
from shared import BenchmarkError, run_script, say

HERE = Path(__file__).resolve().parents[1] / "mlruns_example"
GMACS = {"resnet18": 1.81, "mobilenet_v2": 0.30, "efficientnet_b0": 0.39, "vit_b_32": 4.41}
"""Of one image of 224 x 224 pixels: https://docs.pytorch.org/vision/stable/models.html."""
GFLOPS = 100.0
BATCHES = (1, 4)
NIGHTLY = ("squeezenet1_1", "mobilenet_v3_large")
NIGHTS = 6
"""With each version."""
OLDER = "onnxruntime==1.20.1"
SERIES = ("EAGER", "ONNX_CPU")
KEPT = ("README.md",)
SHORTEST = 5


def main() -> None:
    """Make the store anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", default="default", help="how carefully: quick or default")
    parser.add_argument("--models", nargs="+", choices=GMACS, default=list(GMACS))
    parser.add_argument("--nights", type=int, default=NIGHTS, help="of the series, with each version")
    arguments = parser.parse_args()
    HERE.mkdir(exist_ok=True)
    for path in HERE.iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    store = f"sqlite:///{HERE}/mlflow.db"
    with tempfile.TemporaryDirectory(prefix="example-") as scratch:
        os.environ["ALMAFLOW_HOME"] = scratch
        _write_jobs(Path(scratch), arguments.models)
        port = free_port(None)
        with serving(store, port):
            address = f"http://127.0.0.1:{port}"
            os.environ["MLFLOW_TRACKING_URI"] = address  # not an override: those are kept
            _almaflow("calibrate", "--conversions", ",".join(SERIES), "--experiment", "example")
            sweep = ["--config-dir", scratch, "-m", "experiment=glob(*_b*)", "predictor=roofline"]
            _almaflow("run", *sweep, f"measure={arguments.measure}", "experiment_name=example")
            _measure_series(Path(scratch), arguments.nights)
            _almaflow("accuracy", "--experiment", "nightly", "--track")
            prepare_pages(address)
        _check(Path(scratch))
    with closing(sqlite3.connect(HERE / "mlflow.db")) as database:
        database.execute("VACUUM")
    size = sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file())
    say(f"{HERE.name}: {size / 1e6:.1f} MB")


def _almaflow(*arguments: str, first: Path | None = None) -> None:
    """Run a command, where asked with packages that go before those of the environment."""
    places = [str(first), os.environ.get("PYTHONPATH", "")] if first else []
    environment = os.environ | ({"PYTHONPATH": os.pathsep.join(filter(None, places))} if first else {})
    done = subprocess.run([sys.executable, "-m", "almaflow", *arguments], check=False, env=environment)
    if done.returncode:
        message = f"almaflow {arguments[0]} ended with {done.returncode}"
        raise BenchmarkError(message)


def _measure_series(place: Path, nights: int) -> None:
    older = place / "older"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(older), OLDER]
    if subprocess.run(command, check=False).returncode:
        message = f"{OLDER} could not be installed"
        raise BenchmarkError(message)
    asked = ["run", "-m", "model=torchvision", f"model.arch={','.join(NIGHTLY)}", "measure=quick"]
    asked += [f"conversions=[{','.join(SERIES)}]", "predictor=calibrated", "experiment_name=nightly"]
    for night in range(2 * nights):
        _almaflow(*asked, first=older if night < nights else None)


def _write_jobs(place: Path, models: list[str]) -> None:
    """One configuration for each job, since each has a prediction of its own."""
    (place / "experiment").mkdir()
    for model in models:
        for batch in BATCHES:
            predicted_ms = round(batch * 2 * GMACS[model] / GFLOPS * 1000, 1)
            lines = ["# @package _global_", "defaults:", f"  - override /model: {model}", '  - override /tier: "2"']
            lines += [f"batch_size: {batch}", f"predicted_latency_ms: {predicted_ms}"]
            text = "\n".join([*lines, ""])
            (place / "experiment" / f"{model}_b{batch}.yaml").write_text(text, encoding="utf-8")


def _check(scratch: Path) -> None:
    """Refuse a store that names this machine, its user or its places."""
    secrets = {str(Path.home()), str(scratch), str(HERE.parent), sys.prefix, socket.gethostname(), getpass.getuser()}
    # A shorter name is a word that a database has for other reasons.
    patterns = {
        each: re.compile(rb"\b" + re.escape(each.encode()) + rb"\b") for each in secrets if len(each) >= SHORTEST
    }
    for path in HERE.rglob("*"):
        if path.is_file():
            found = [each for each, pattern in patterns.items() if pattern.search(path.read_bytes())]
            if found:
                message = f"{path.relative_to(HERE)} has {', '.join(found)} in it"
                raise BenchmarkError(message)


if __name__ == "__main__":
    run_script(main)
