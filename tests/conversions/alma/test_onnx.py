"""ONNX Runtime: static INT8 quantisation that does not pretend, and the provider that really ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.conversion_child import convert, in_child

pytestmark = [pytest.mark.slow, pytest.mark.alma]

NAME = "ONNX_CPU_INT8_STATIC"
INT8_WEIGHTS = {"convolutions": 3, "attention": 3, "two floats": 2, "tokens and floats": 1}
"""Weights of convolutions and linear layers; an embedding is looked up and stays as it is."""


def in_child_quantise() -> dict[str, Any]:
    """The models, with what ONNX Runtime makes of the quantised file, and a session that asks for a GPU."""
    import onnxruntime

    found: dict[str, Any] = {}
    for model in INT8_WEIGHTS:
        found[model] = convert(NAME, model) | {"operators": _operators(Path("int8.onnx"))}
        found[model]["session"] = _session_operators(Path("int8.onnx"))
    found["batch of one"] = convert(NAME, "convolutions", rows=1)
    found["no weights"] = convert(NAME, "no weights")
    found["gpu"] = convert("ONNX_GPU", "linear") | {"providers": onnxruntime.get_available_providers()}
    return found


def _operators(path: Path) -> list[str]:
    import onnx

    return [node.op_type for node in onnx.load(path).graph.node]


def _session_operators(path: Path) -> list[str]:
    """What runs: the graph after ONNX Runtime has fused it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = "fused.onnx"
    onnxruntime.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
    return _operators(Path("fused.onnx"))


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_child(in_child_quantise, tmp_path_factory.mktemp("int8"))


@pytest.mark.parametrize("model", INT8_WEIGHTS)
def test_weights_are_int8_and_run_in_integers(seen: dict[str, Any], model: str) -> None:
    case = seen[model]
    assert case["failure"] is None, case
    assert case["runtime"]["quantised_weights"] == str(INT8_WEIGHTS[model])
    assert {"QuantizeLinear", "DequantizeLinear"} <= set(case["operators"])
    with_weights = [name for name in case["session"] if name in {"QLinearConv", "QGemm"}]
    assert len(with_weights) == INT8_WEIGHTS[model], case["session"]


@pytest.mark.parametrize("model", [*INT8_WEIGHTS, "batch of one"])
def test_the_answers_are_those_of_int8(seen: dict[str, Any], model: str) -> None:
    assert seen[model]["right"], seen[model]
    assert 20 < seen[model]["sqnr_db"] < 80  # near, and rounded
    assert seen[model]["runtime"]["provider"] == "CPUExecutionProvider"
    assert seen[model]["runtime"]["onnxruntime_threads"] == "1"


def test_a_residual_that_is_normalised_stays_in_float_and_products_do_not(seen: dict[str, Any]) -> None:
    fused = seen["attention"]["session"]
    assert fused.count("QLinearMatMul") == 2  # of activations
    assert "LayerNormalization" in fused or "SkipLayerNormalization" in fused
    assert "QLinearAdd" not in fused


def test_a_model_without_weights_is_not_called_int8(seen: dict[str, Any]) -> None:
    assert seen["no weights"]["failure"] == "unsupported"
    assert seen["no weights"]["message"].startswith("NotImplementedError: nothing to quantise")


def test_a_session_that_did_not_get_the_gpu_is_seen(seen: dict[str, Any]) -> None:
    case = seen["gpu"]
    assert case["right"]
    taken = case["runtime"]["provider"]
    fell_back = None
    if taken != "CUDAExecutionProvider":
        fell_back = f"ONNX Runtime took {taken} instead of CUDAExecutionProvider"
    assert case["fell_back"] == fell_back
    assert taken in case["providers"]
    assert fell_back or "CUDAExecutionProvider" in case["providers"]
