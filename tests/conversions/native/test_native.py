"""Conversions that are built here: each answers as eager does, and says what really ran."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
from tests.support.conversion_child import convert, in_child

pytestmark = pytest.mark.slow

CASES: dict[str, tuple[str, str, dict[str, str]]] = {
    "CHANNELS_LAST+EAGER": ("convolutions", "torch", {}),
    "BF16+CHANNELS_LAST+EAGER": ("convolutions", "torch", {}),
    "COMPILE_INDUCTOR_FREEZING": ("convolutions", "torch", {"dynamo_graphs": "1", "graph_breaks": "0"}),
    "AOT_INDUCTOR_PACKAGE": ("two floats", "torch", {}),
    "OPENVINO": ("two floats", "openvino", {"openvino_precision": "f32", "openvino_threads": "1"}),
    "OPENVINO_FP16": ("convolutions", "openvino", {"openvino_precision": "f32", "openvino_device": "CPU"}),
    "OPENVINO_INT8": ("convolutions", "nncf", {"openvino_precision": "f32"}),
    "ONNX_CPU_INT8_STATIC": ("convolutions", "onnxruntime", {"provider": "CPUExecutionProvider"}),
    "TORCHAO_QUANT_INT8": ("attention", "torchao", {"quantised_weights": "3"}),
    "TORCHAO_QUANT_INT8+COMPILE_INDUCTOR": ("attention", "torchao", {"quantised_weights": "3", "dynamo_graphs": "1"}),
    "TORCHAO_QUANT_FP8": ("attention", "torchao", {"quantised_weights": "3"}),
    "EXECUTORCH_XNNPACK": ("convolutions", "executorch", {}),
}
"""A conversion; a model, the package that it needs, and what the runtime says."""


def in_child_native() -> dict[str, Any]:
    found = {name: convert(name, model) for name, (model, package, _) in CASES.items() if find_spec(package)}
    return found | {
        "tokens": convert("OPENVINO", "tokens and floats"),
        "no weights": convert("TORCHAO_QUANT_INT8", "no weights"),
        "another type": convert("ONNX_CPU_INT8_STATIC", "half"),
        "stacks": convert("ONNX_CPU_INT8_STATIC", "stacks"),
        "nothing for XNNPACK": convert("EXECUTORCH_XNNPACK", "tokens") if find_spec("executorch") else None,
    }


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_child(in_child_native, tmp_path_factory.mktemp("native"))


@pytest.mark.parametrize("name", CASES)
def test_it_answers_as_eager_does_and_says_what_ran(seen: dict[str, Any], name: str) -> None:
    _, package, runtime = CASES[name]
    if not find_spec(package):
        pytest.skip(f"{package} is not installed: it fits the newer set of versions only")
    found = seen[name]
    assert found["failure"] is None, found
    assert found["right"], found
    assert found["fell_back"] is None
    assert found["recompiles"] in {None, 0}
    assert runtime.items() <= found["runtime"].items()


def test_integers_go_into_openvino_as_they_are(seen: dict[str, Any]) -> None:
    assert seen["tokens"]["right"], seen["tokens"]


def test_a_model_without_linear_layers_has_nothing_for_torchao(seen: dict[str, Any]) -> None:
    assert seen["no weights"]["failure"] == "unsupported"
    assert "nothing to quantise" in seen["no weights"]["message"]


def test_weights_of_another_type_are_refused_by_the_quantiser_in_one_line(seen: dict[str, Any]) -> None:
    assert seen["another type"]["failure"] == "unsupported"
    assert "takes float32 weights, and the model has float16" in seen["another type"]["message"]


def test_a_product_with_a_constant_stack_of_matrices_stays_in_floating_point(seen: dict[str, Any]) -> None:
    assert seen["stacks"]["failure"] is None, seen["stacks"]
    assert seen["stacks"]["right"]
    assert seen["stacks"]["runtime"]["quantised_weights"] == "1"
