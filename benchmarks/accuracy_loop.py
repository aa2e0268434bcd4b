"""Does ``almaflow accuracy`` name the cause, on real measurements?

Three small models are measured by eager PyTorch and ONNX Runtime, several times over (``--nights``) in each of four
states: as it is; with another version of the predictor, 20% higher; with another version of ONNX Runtime too, which is
installed beside the environment (``--onnxruntime``); and then beside processes that keep the processors busy. Each
state is one step from the one before, and its cause is known. Measure alone: about twenty-five minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from almaflow.processes.logs import reason_of
from shared import BenchmarkError, at_least, make_parser, run_script, save, say, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MODELS = ("squeezenet1_1", "mobilenet_v3_small", "efficientnet_b0")
"""ONNX Runtime 1.20 is as fast as 1.31 on the first, and slower by a third or more on the others."""
CONVERSIONS = ("EAGER", "ONNX_CPU")
MEASURE = ("measure=quick", "measure.min_time_s=1", "measure.max_time_s=10")
STATES = {
    "as it is": "",
    "another predictor": "prediction",
    "another ONNX Runtime": "version",
    "a busy machine": "machine",
}
"""What each is, and the cause of the step that leads to it."""


def main() -> None:
    """Measure, and show what was found."""
    parser = make_parser(__doc__)
    parser.add_argument("--nights", type=at_least(3), default=5, help="measurements in each state")
    parser.add_argument("--onnxruntime", default="1.20.1", metavar="VERSION", help="the other one")
    parser.add_argument("--uri", metavar="URI", help="of an empty store that is kept (default: none is)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="almaflow-loop-") as scratch:
        place = Path(scratch)
        other = place / "other"
        _install(f"onnxruntime=={arguments.onnxruntime}", other)
        uri = arguments.uri or f"sqlite:///{place}/mlflow.db"
        environment = os.environ | {"ALMAFLOW_HOME": str(place / "home"), "MLFLOW_TRACKING_URI": uri}
        with_other = os.pathsep.join(filter(None, (str(other), os.environ.get("PYTHONPATH"))))
        for number, state in enumerate(STATES):
            here = environment | ({"PYTHONPATH": with_other} if number >= 2 else {})  # noqa: PLR2004 - from the third on
            higher = 1.0 if number == 0 else 1.2
            for night in range(arguments.nights):
                say(f"{state}: {night + 1} of {arguments.nights}")
                with _busy(2 if STATES[state] == "machine" else 0):
                    _measure(place, here, higher)
        found: dict[str, Any] = json.loads(_almaflow(environment, "accuracy", "--json"))
    rows = [
        [
            f"{series['model']} {series['conversion']}", str(series["n"]), change["cause"],
            f"{change['before_pct']:+.0f}% to {change['after_pct']:+.0f}%", change["why"],
        ]
        for series in found["series"]
        for change in series["changes"]
    ]  # fmt: skip
    show("What almaflow accuracy found", ["", "points", "cause", "error", "why"], rows)
    save(arguments, found)


def _install(package: str, place: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(place), package]
    if subprocess.run(command, check=False).returncode:
        message = f"{package} could not be installed"
        raise BenchmarkError(message)


def _measure(place: Path, environment: Mapping[str, str], higher: float) -> None:
    table = place / "predictions.csv"
    table.write_text(f"model,latency_ms\n,{10 * higher}\n", encoding="utf-8")
    overrides = ["model=torchvision", f"model.arch={','.join(MODELS)}", f"conversions=[{','.join(CONVERSIONS)}]"]
    overrides += [*MEASURE, "predictor=given", f"predictor.given.path={table}"]
    _almaflow(environment, "run", "-m", *overrides)


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """Beside processes that compute without end."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _almaflow(environment: Mapping[str, str], *arguments: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "almaflow", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(reason_of(done.returncode, done.stderr))
    return done.stdout


if __name__ == "__main__":
    run_script(main)
