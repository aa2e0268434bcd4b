"""A model is converted as its call gives it, with hooks on the model itself and a ``__call__`` of its own."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.conversion_child import convert, in_child

pytestmark = pytest.mark.slow

CONVERSIONS = (
    *("EAGER", "EXPORT+EAGER", "JIT_TRACE", "FP16+EAGER", "BF16+EAGER", "CHANNELS_LAST+EAGER"),
    *("ONNX_CPU", "ONNX_CPU_INT8_STATIC", "OPENVINO", "COMPILE_OPENVINO", "COMPILE_INDUCTOR_DEFAULT"),
    *("OPTIMUM_QUANTO_WI8", "TORCHAO_QUANT_INT8", "EXECUTORCH_XNNPACK"),
)
MODELS = ("hooked", "own call")


def in_child_build() -> dict[str, Any]:
    return {name: {model: convert(name, model) for model in MODELS} for name in CONVERSIONS}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_child(in_child_build, tmp_path_factory.mktemp("build"))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", CONVERSIONS)
def test_it_answers_as_a_call_of_the_model_does(seen: dict[str, Any], name: str, model: str) -> None:
    found = seen[name][model]
    assert found["failure"] is None, found
    assert found["right"], found
    # Without images there is nothing to reorder, and that is told.
    assert (found["fell_back"] is not None) == name.startswith("CHANNELS_LAST"), found
