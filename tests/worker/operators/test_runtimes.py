"""Operators of real runtimes: read from what they would execute, and timed alone, in processes as calibration has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from almaflow.calibration.operators.fill import fill_table, table_here
from almaflow.predict.operators.features import class_of
from almaflow.processes.one_shot import answer_of
from almaflow.records import HardwareSpec, from_dict
from almaflow.records.operators import Operator

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

CONV: dict[str, Any] = {
    "kind": "conv", "shape": [1, 32, 28, 28], "out": 64, "kernel": 3, "stride": 2, "groups": 1, "activation": "relu",
    "residual": False,
}  # fmt: skip
LAYERS: list[dict[str, Any]] = [
    CONV,
    CONV | {"out": 32, "groups": 32, "activation": "none"},
    {"kind": "linear", "shape": [64, 256], "out": 512, "activation": "none"},
    {"kind": "max_pool", "shape": [1, 64, 28, 28]},
]


@pytest.mark.parametrize(
    ("conversion", "kinds"),
    [
        ("ONNX_CPU", {"Conv dense", "Conv depthwise", "Gemm", "MaxPool"}),
        ("OPENVINO", {"Convolution dense", "Convolution depthwise", "FullyConnected", "Pooling"}),
    ],
)
def test_layers_become_operators_that_run_alone(
    conversion: str, kinds: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALMAFLOW_HOME", str(tmp_path))
    task = {"conversion": conversion, "threads": 1, "layers": LAYERS}
    answer = answer_of("almaflow.worker.operators.drawn", task, failed="not opened", timeout_s=300)
    operators = {class_of(each): each for each in (from_dict(Operator, each) for each in answer)}
    assert operators.keys() >= kinds
    dense = next(each for name, each in operators.items() if name.endswith("dense"))
    assert dense.flops == 2 * 64 * 14 * 14 * 32 * 9  # ReLU is fused, and counts as nothing
    assert dense.weight_bytes == pytest.approx(4 * 64 * 32 * 9, rel=0.02)  # and the bias
    wanted = [each for name, each in operators.items() if name in kinds]
    empty, steps = table_here(conversion, HardwareSpec("here", "cpu", 1)), list[int]()
    made = fill_table(empty, wanted, "configs", pytest.fail, steps.append)
    assert sum(steps) == len(wanted)
    assert made.untimed == {}
    assert made.rest["call_us"] > 0
    assert 0.3 < made.rest["scale"] < 3  # on any machine; chains take about as long as their operators
    assert made.rest["deviation"] >= 0.02
    times = {class_of(each.operator): each for each in made.entries.values()}
    assert times.keys() == kinds
    linear = times["Gemm" if conversion == "ONNX_CPU" else "FullyConnected"]
    assert 1.0 < linear.warm_us < 1e6  # 17 million operations take more than a microsecond on any processor
    assert linear.cold_us is not None
    assert linear.cold_us >= linear.warm_us
