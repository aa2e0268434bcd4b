"""Graphs that ONNX Runtime's quantiser leaves are changed where its kernels would answer wrongly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from almaflow.conversions.built.onnx_graphs import operators_to_quantize, products_of_stacks, softmax_of_floats

if TYPE_CHECKING:
    from pathlib import Path

onnx = pytest.importorskip("onnx", reason="the extra for ONNX is not installed")
helper, FLOAT, UINT8 = onnx.helper, onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8

X = np.linspace(-0.01, 0.01, 8, dtype=np.float32)[None]
"""A row of nearly equal elements."""


def saved(path: Path, nodes: list[Any], **constants: Any) -> Path:
    tensors = [
        helper.make_tensor(name, UINT8 if name.endswith("zero") else FLOAT, np.shape(value), np.ravel(value))
        for name, value in constants.items()
    ]
    ends = [[helper.make_tensor_value_info(name, FLOAT, list(X.shape))] for name in "xy"]
    graph = helper.make_graph(nodes, "graph", ends[0], ends[1], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def quantised(path: Path, operator: str) -> Path:
    """An operator between quantised neighbours."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "in_scale", "in_zero"], ["x8"]),
        helper.make_node("DequantizeLinear", ["x8", "in_scale", "in_zero"], ["x32"]),
        helper.make_node(operator, ["x32"], ["y32"], name="between"),
        helper.make_node("QuantizeLinear", ["y32", "out_scale", "out_zero"], ["y8"]),
        helper.make_node("DequantizeLinear", ["y8", "out_scale", "out_zero"], ["y"]),
    ]
    return saved(path, nodes, in_scale=0.01 / 127, in_zero=128, out_scale=0.126 / 255, out_zero=0)


def answer(path: Path) -> np.ndarray[Any, Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: np.ndarray[Any, Any] = session.run(None, {"x": X})[0]
    return found


def test_a_softmax_between_quantised_neighbours_keeps_rows_of_nearly_equal_elements(tmp_path: Path) -> None:
    path = quantised(tmp_path / "int8.onnx", "Softmax")
    softmax_of_floats(path)
    assert abs(answer(path) - np.exp(X) / np.exp(X).sum()).max() < 1e-3


def test_other_operators_stay_quantised(tmp_path: Path) -> None:
    path = quantised(tmp_path / "int8.onnx", "Sigmoid")
    before = path.read_bytes()
    softmax_of_floats(path)
    assert path.read_bytes() == before


def test_what_is_quantised_depends_on_the_normalisation_and_on_stacks(tmp_path: Path) -> None:
    stack = helper.make_node("MatMul", ["x", "stack"], ["y"], name="by a stack")
    path = saved(tmp_path / "plain.onnx", [stack], stack=np.zeros((2, 8, 8), np.float32))
    assert products_of_stacks(path) == ["by a stack"]
    assert "Add" in operators_to_quantize(path)
    norm = helper.make_node("LayerNormalization", ["x", "scale"], ["y"])
    path = saved(tmp_path / "normalised.onnx", [norm], scale=np.ones(8, np.float32))
    assert operators_to_quantize(path) == ["Conv", "Gemm", "MatMul"]
