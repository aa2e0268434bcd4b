"""How much of a model a narrow type really has; nothing at all is a fall-back."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.conversion_child import in_child
from tests.support.example_jobs import planned

from almaflow.records import Fidelity

if TYPE_CHECKING:
    from pathlib import Path

EQUAL = Fidelity(0.0, 1.0, 200.0, None, 8, 8.0, ok=True)
GRAPHS = ("NATIVE_CONVERT_AI8WI8_STATIC_QUANTIZED", "NATIVE_FAKE_QUANTIZED_AI8WI8_STATIC")
EXPORTED = ("EXPORT+AI8WI8_FLOAT_QUANTIZED", "EXPORT+AI8WI8_STATIC_QUANTIZED")
LAYERS = ("OPTIMUM_QUANTO_WI8", "TORCHAO_QUANT_INT8")
CASTS = ("BF16+EAGER", "FP16+JIT_TRACE")


def _look(name: str, model: str) -> dict[str, Any]:
    import torch
    from tests.support.example_models import MODELS

    from almaflow.conversions.build import build
    from almaflow.conversions.built.model import BuildInputs
    from almaflow.conversions.catalogue.plan import plan

    chosen = plan([name], 1, "cpu", allow_device_override=True)[0]
    make, draw = MODELS[model]
    torch.manual_seed(1)
    dtype = getattr(torch, chosen.input_dtype)
    batches: list[Any] = [tuple(each.to(dtype) for each in draw(2)) for _ in range(2)]
    with torch.no_grad():
        converted = build(chosen, make().eval(), BuildInputs(batches, 1))
        evidence = converted.evidence()
    return {
        "fell_back": evidence.fell_back,
        "weights": evidence.narrow_weights_share,
        "work": evidence.narrow_work_share,
        "notes": list(evidence.notes),
    }


def in_child_quick() -> dict[str, Any]:
    found = {(name, model): _look(name, model) for name in GRAPHS for model in ("gate", "recurrent head", "attention")}
    found |= {(name, "recurrent head"): _look(name, "recurrent head") for name in LAYERS}
    found |= {(name, "attention"): _look(name, "attention") for name in CASTS}
    found["OPTIMUM_QUANTO_WI8", "gate"] = _look("OPTIMUM_QUANTO_WI8", "gate")
    return {"/".join(key): value for key, value in found.items()}


def in_child_exported() -> dict[str, Any]:
    return {f"{name}/{model}": _look(name, model) for name in EXPORTED for model in ("gate", "recurrent head")}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_child(in_child_quick, tmp_path_factory.mktemp("quick"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_child(in_child_exported, tmp_path_factory.mktemp("exported"))


def check_nothing(found: dict[str, Any]) -> None:
    assert found["fell_back"] == "no weight was quantised: the quantiser found none that it takes"
    assert (found["weights"], found["work"]) == (0, 0)


def check_little(found: dict[str, Any]) -> None:
    assert found["fell_back"] is None
    assert found["weights"] == pytest.approx(128 / 54_402, rel=1e-3)
    assert found["work"] == pytest.approx(2 * 128 / (12 * 2 * (4 * 64 * (16 + 64 + 64 + 64)) + 2 * 128), rel=1e-3)
    assert found["notes"] == ["0.24% of the weights and 0.02% of the work in int8"]


@pytest.mark.parametrize("name", [*GRAPHS, "OPTIMUM_QUANTO_WI8"])
def test_a_quantiser_that_took_nothing_has_fallen_back(quick: dict[str, Any], name: str) -> None:
    check_nothing(quick[f"{name}/gate"])


@pytest.mark.parametrize("name", [*GRAPHS, *LAYERS])
def test_one_tiny_layer_in_int8_is_said_to_be_tiny(quick: dict[str, Any], name: str) -> None:
    check_little(quick[f"{name}/recurrent head"])


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTED)
def test_an_exported_graph_says_what_of_it_is_int8(exported: dict[str, Any], name: str) -> None:
    check_nothing(exported[f"{name}/gate"])
    check_little(exported[f"{name}/recurrent head"])


@pytest.mark.parametrize("name", GRAPHS)
def test_products_of_activations_are_work_that_is_not_narrow(quick: dict[str, Any], name: str) -> None:
    found = quick[f"{name}/attention"]
    assert found["fell_back"] is None
    layers, attention = 2 * 7 * 16 * (48 + 16) + 2 * 16 * 10, 4 * 7 * 7 * 16
    assert found["work"] == pytest.approx(layers / (layers + attention), rel=1e-3)
    assert found["notes"] == []


@pytest.mark.parametrize("name", CASTS)
def test_a_cast_takes_all_weights_and_all_products(quick: dict[str, Any], name: str) -> None:
    found = quick[f"{name}/attention"]
    assert (found["fell_back"], found["weights"], found["work"]) == (None, 1, 1)


@pytest.mark.slow  # importing torch takes seconds
def test_a_model_that_was_not_cast_has_fallen_back() -> None:
    import torch

    from almaflow.conversions.built.narrow import cast_evidence

    found = cast_evidence(torch.nn.Linear(2, 2), "float16", None)
    assert (found.fell_back, found.narrow_weights_share) == ("no weight is float16: they are float32", 0)


def test_an_answer_equal_to_the_bit_with_nothing_narrow_is_a_fall_back() -> None:
    from almaflow.conversions.built.evidence import ExecutionEvidence
    from almaflow.conversions.built.narrow import untouched

    int8 = planned("ONNX_CPU_INT8_STATIC", dtype="int8")
    nothing = ExecutionEvidence(narrow_weights_share=0.0)
    assert untouched(nothing, EQUAL, int8) == "the output is equal to eager's to the bit, and nothing was found in int8"
    assert untouched(ExecutionEvidence(), EQUAL, int8) is not None
    assert untouched(ExecutionEvidence(narrow_weights_share=0.1), EQUAL, int8) is None
    assert untouched(nothing, replace(EQUAL, max_abs_diff=1e-9), int8) is None
    assert untouched(nothing, EQUAL, planned("EAGER")) is None
    # Classes are whole numbers, which rounding need not change.
    assert untouched(ExecutionEvidence(), replace(EQUAL, equal_share=1.0), int8) is None


def test_shares_of_an_onnx_file(tmp_path: Path) -> None:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from almaflow.conversions.built.narrow_files import onnx_shares

    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 8])]
    outputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, [4, 2])]
    stored = [
        numpy_helper.from_array(np.ones((8, 6), np.int8), "w8"),
        numpy_helper.from_array(np.array(0.1, np.float32), "scale"),
        numpy_helper.from_array(np.ones((6, 2), np.float32), "w"),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["w8", "scale"], ["wf"]),
        helper.make_node("MatMul", ["x", "wf"], ["y"]),
        helper.make_node("MatMul", ["y", "w"], ["z"]),
    ]
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, stored)), path)
    assert onnx_shares(path) == (48 / 60, 48 / 60)


def in_child_openvino() -> dict[str, Any]:
    import openvino
    import torch
    from tests.support.example_models import MODELS

    from almaflow.conversions.built.narrow_files import openvino_shares

    make, draw = MODELS["recurrent head"]
    batch = draw(2)
    model = openvino.convert_model(torch.export.export(make().eval(), batch))
    model.reshape({model.inputs[0]: list(batch[0].shape)})
    openvino.save_model(model, "model.xml", compress_to_fp16=True)
    return {"float32": openvino_shares(model), "float16": openvino_shares(openvino.Core().read_model("model.xml"))}


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("openvino"), reason="OpenVINO is not installed")
def test_shares_of_an_openvino_model(tmp_path: Path) -> None:
    assert in_child(in_child_openvino, tmp_path) == {"float32": [0, 0], "float16": [1, 1]}
