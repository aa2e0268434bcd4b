"""Backends of our own behind Alma's names, and quantisers that Alma leaves uncalibrated."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.conversion_child import convert, in_child

from almaflow.machine import cpus

pytestmark = [pytest.mark.slow, pytest.mark.alma]

CASES: dict[str, tuple[str, str]] = {
    "COMPILE_ONNXRT": ("tokens and floats", "onnxrt-backend"),
    "EXPORT+COMPILE_ONNXRT": ("two floats", "onnxrt-backend"),
    "FP16+COMPILE_ONNXRT": ("convolutions", "onnxrt-backend"),
    "BF16+COMPILE_ONNXRT": ("convolutions", "onnxrt-backend"),
    "COMPILE_TVM": ("tokens and floats", "tvm-backend"),
    "FP16+EXPORT+COMPILE_TVM": ("convolutions", "tvm-backend"),
    "BF16+COMPILE_TVM": ("attention", "tvm-backend"),
    "OPTIMUM_QUANTO_AI8WI8": ("convolutions", "quanto-calibration"),
    "NATIVE_CONVERT_AI8WI8_STATIC_QUANTIZED": ("normalised", "fx-calibration"),
    "NATIVE_FAKE_QUANTIZED_AI8WI8_STATIC": ("normalised", "fx-calibration"),
    "EXPORT+AI8WI8_FLOAT_QUANTIZED": ("positions", "xnnpack-integers"),
    "EXPORT+AI8WI8_STATIC_QUANTIZED+RUN_DECOMPOSITION": ("positions", "xnnpack-integers"),
    "TORCHAO_QUANT_I4_WEIGHT_ONLY": ("wide", "int4-weight-only"),
}
"""A conversion, a model, and the repair that it needs."""

FX = ("NATIVE_CONVERT_AI8WI8_STATIC_QUANTIZED", "NATIVE_FAKE_QUANTIZED_AI8WI8_STATIC")
UNCALIBRATED = ("OPTIMUM_QUANTO_AI8WI8", FX[0])


def in_child_backends() -> dict[str, Any]:
    found = {name: convert(name, model) for name, (model, _) in CASES.items()}
    for name in (*UNCALIBRATED, "TORCHAO_QUANT_I4_WEIGHT_ONLY"):
        model, repair = CASES[name]
        found[f"{name} without"] = convert(name, model, skip=(repair,))
    for name in FX:
        found[f"{name} untraceable"] = convert(name, "untraceable")
    return found | {
        "integers without": convert("EXPORT+AI8WI8_FLOAT_QUANTIZED", "positions", skip=("xnnpack-integers",)),
        "hidden": convert(FX[0], "untraceable", skip=("fx-error",)),
        "breaks": convert("COMPILE_ONNXRT", "breaks"),
        "narrow": convert("TORCHAO_QUANT_I4_WEIGHT_ONLY", "linear"),
        "no weights": convert("TORCHAO_QUANT_I4_WEIGHT_ONLY", "no weights"),
    }


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_child(in_child_backends, tmp_path_factory.mktemp("backends"))


@pytest.mark.parametrize("name", CASES)
def test_it_answers_as_eager_does_and_nothing_fell_back(seen: dict[str, Any], name: str) -> None:
    found = seen[name]
    assert found["failure"] is None, found
    assert found["right"], found
    assert found["fell_back"] is None
    assert CASES[name][1] in found["repairs"]
    if "COMPILE" in name:
        assert found["runtime"]["dynamo_graphs"] == "1"
        assert int(found["runtime"]["dynamo_nodes"]) > int(found["runtime"]["dynamo_operations"]) > 0


@pytest.mark.parametrize("name", ["BF16+COMPILE_ONNXRT", "FP16+EXPORT+COMPILE_TVM"])
def test_what_has_no_half_precision_says_what_it_computes_in(seen: dict[str, Any], name: str) -> None:
    assert seen[name]["runtime"]["computes_in"] == "float32"
    assert "computes_in" not in seen["FP16+COMPILE_ONNXRT"]["runtime"]


OVERFLOWS = pytest.mark.skipif(
    cpus.int8_overflows(), reason="x86 without VNNI: FX's int8 kernels add products in 16 bits, which overflow"
)


@pytest.mark.parametrize("name", [pytest.param(name, marks=OVERFLOWS if "CONVERT" in name else ()) for name in FX])
def test_fx_quantises_the_model_with_its_own_statistics(seen: dict[str, Any], name: str) -> None:
    # With those of each batch, which Alma's preparation for training takes, about 10 dB are left.
    assert seen[name]["sqnr_db"] > 25


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=OVERFLOWS if "NATIVE_CONVERT" in name else ()) for name in UNCALIBRATED]
)
def test_uncalibrated_the_answer_is_another(seen: dict[str, Any], name: str) -> None:
    assert seen[name]["sqnr_db"] > seen[f"{name} without"]["sqnr_db"] + 20


def test_alma_quantises_nothing_to_int4_on_a_cpu(seen: dict[str, Any]) -> None:
    without = seen["TORCHAO_QUANT_I4_WEIGHT_ONLY without"]
    assert without["failure"] or "no weight was quantised" in without["fell_back"]
    assert seen["TORCHAO_QUANT_I4_WEIGHT_ONLY"]["runtime"]["quantised_weights"] == "1"


def test_nothing_quantised_is_not_taken_for_int4(seen: dict[str, Any]) -> None:
    assert seen["no weights"]["runtime"]["quantised_weights"] == "0"
    assert "no weight was quantised" in seen["no weights"]["fell_back"]


def test_int4_takes_layers_of_any_size(seen: dict[str, Any]) -> None:
    # Eight inputs a row are fewer than a group of int4 weights.
    assert seen["narrow"]["right"], seen["narrow"]
    assert seen["narrow"]["runtime"]["quantised_weights"] == "1"


def test_a_graph_break_is_an_error_and_not_a_part_in_eager(seen: dict[str, Any]) -> None:
    assert seen["breaks"]["failure"] == "unsupported"
    assert "graph_break" in seen["breaks"]["message"]


def test_indices_stay_integers(seen: dict[str, Any]) -> None:
    assert "tensors used as indices must be" in seen["integers without"]["message"]


@pytest.mark.parametrize("name", FX)
def test_what_fx_cannot_trace_is_said(seen: dict[str, Any], name: str) -> None:
    assert "UnboundLocalError" in seen["hidden"]["message"]
    message = seen[f"{name} untraceable"]["message"]
    assert "symbolically traced variables cannot be used as inputs to control flow" in message
