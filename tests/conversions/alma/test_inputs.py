"""Models of several inputs, and of integer ones, through every kind of converter that can run here."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.conversion_child import convert, in_child

pytestmark = pytest.mark.slow

CONVERSIONS = (
    "EAGER",
    "EXPORT+EAGER",
    "JIT_TRACE",
    "TORCH_SCRIPT",
    "FP16+EAGER",
    "BF16+EAGER",
    "FP16+TORCH_SCRIPT",
    "BF16+JIT_TRACE",
    "ONNX_CPU",
    "ONNX+DYNAMO_EXPORT",
    "ONNX_CPU_INT8_STATIC",
    "OPTIMUM_QUANTO_WI8",
    "EXPORT+AI8WI8_FLOAT_QUANTIZED",
    "COMPILE_INDUCTOR_DEFAULT",
    "COMPILE_OPENVINO",
)
MODELS = ("two floats", "tokens", "tokens and floats")


def in_child_inputs() -> dict[str, Any]:
    """Every conversion on every model, and what Alma's FX conversions make of two inputs."""
    found = {name: {model: convert(name, model) for model in MODELS} for name in CONVERSIONS}
    found["fx"] = {"two floats": convert("NATIVE_FAKE_QUANTIZED_AI8WI8_STATIC", "two floats")}
    return found


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_child(in_child_inputs, tmp_path_factory.mktemp("inputs"))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", CONVERSIONS)
def test_the_output_is_that_of_eager(seen: dict[str, Any], name: str, model: str) -> None:
    case = seen[name][model]
    assert case["failure"] is None, case
    assert case["right"], case
    assert case["fell_back"] is None, case
    assert case["shape"] == [2, 6]


@pytest.mark.parametrize("model", MODELS)
def test_integer_inputs_stay_integers_where_floats_are_cast(seen: dict[str, Any], model: str) -> None:
    for name in ("FP16+EAGER", "BF16+EAGER"):
        assert "cast-inputs" in seen[name][model]["repairs"]
        assert seen[name][model]["sqnr_db"] < 90  # cast it was


def test_fx_traces_a_model_of_two_inputs(seen: dict[str, Any]) -> None:
    # Its scales are arbitrary, and so is how near its answer is.
    assert seen["fx"]["two floats"]["failure"] is None
    assert seen["fx"]["two floats"]["shape"] == [2, 6]
