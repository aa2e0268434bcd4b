"""COMPILE_OPENVINO: Alma's options run inductor, ours run OpenVINO, and what it leaves to others is seen."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.conversion_child import NEWER_TORCH, convert, in_child

pytestmark = [pytest.mark.slow, pytest.mark.alma]


def in_child_openvino() -> dict[str, Any]:
    """Without the repair first: OpenVINO keeps the options that it was given last."""
    name = "COMPILE_OPENVINO"
    return {
        "without": convert(name, "convolutions", skip=("openvino-options",)),
        "with": convert(name, "convolutions"),
        "attention": convert(name, "attention"),
        "casts": convert(name, "casts"),
        "gamma": convert(name, "gamma"),
        "half": convert("FP16+COMPILE_OPENVINO", "convolutions"),
        "given back": convert("BF16+COMPILE_OPENVINO", "linear", skip=("openvino-bfloat16",)),
        "bfloat16": convert("BF16+COMPILE_OPENVINO", "linear"),
        "bfloat16 of indices": convert("BF16+COMPILE_OPENVINO", "tokens"),
        "uncompilable": convert("FP16+COMPILE_OPENVINO", "uncompilable"),
        "one of two": _one_of_two(),
    }


def _one_of_two() -> dict[str, Any]:
    """OpenVINO's backend fails at the second of two graphs, and inductor takes it."""
    import importlib
    from unittest.mock import patch

    backend = importlib.import_module("openvino.frontend.pytorch.torchdynamo.backend")
    original, count = backend.replace_params_with_constants, 0

    def failing(*args: Any) -> Any:
        nonlocal count
        count += 1
        if count > 1:
            raise RuntimeError
        return original(*args)

    with patch.object(backend, "replace_params_with_constants", failing):
        return convert("FP16+COMPILE_OPENVINO", "breaks")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    # What was imported before decides who takes what OpenVINO does not.
    return in_child(in_child_openvino, tmp_path_factory.mktemp("openvino"), fresh=True)


def test_with_the_options_of_alma_it_fails_or_inductor_runs_the_model_and_that_is_seen(seen: dict[str, Any]) -> None:
    without = seen["without"]
    if NEWER_TORCH:
        assert without["failure"] == "error"
    else:
        assert without["right"]
        assert without["runtime"]["openvino_partitions"] == "0"
        assert without["fell_back"] == "OpenVINO ran nothing of the model, inductor all of it"


@pytest.mark.parametrize("case", ["with", "attention", "casts"])
def test_it_runs_whole_in_openvino_in_float32_with_the_threads_asked_for(seen: dict[str, Any], case: str) -> None:
    found = seen[case]
    assert "openvino-options" in found["repairs"]
    assert found["fell_back"] is None
    assert found["recompiles"] == 0
    expected = {
        "dynamo_graphs": "1",
        "graph_breaks": "0",
        "openvino_partitions": "1",
        "openvino_operations_outside": "0",
        "openvino_precision": "f32",
        "openvino_threads": "1",
        "openvino_device": "CPU",
    }
    assert expected.items() <= found["runtime"].items()
    # BF16, which OpenVINO takes by itself on a CPU with AMX, leaves about 50 dB.
    assert found["sqnr_db"] > 100


def test_the_precision_is_the_one_that_the_name_says(seen: dict[str, Any]) -> None:
    """Where a CPU has no FP16 arithmetic it is float32 on weights and inputs in float16."""
    assert seen["half"]["runtime"]["openvino_precision"] in {"f16", "f32"}
    assert seen["half"]["fell_back"] is None
    assert seen["half"]["right"]


def test_operations_outside_its_partitions_are_named(seen: dict[str, Any]) -> None:
    assert seen["gamma"]["right"]
    assert seen["gamma"]["runtime"]["openvino_operations_outside"] == "1"
    assert "lgamma" in seen["gamma"]["fell_back"]


def test_a_partition_that_pytorch_took_back_is_seen(seen: dict[str, Any]) -> None:
    # OpenVINO is fed through NumPy, which has no bfloat16.
    assert seen["given back"]["right"]
    assert seen["given back"]["fell_back"] == "OpenVINO gave 1 of 1 partitions back to PyTorch"


@pytest.mark.parametrize("case", ["bfloat16", "bfloat16 of indices"])
def test_a_bfloat16_model_stays_in_openvino(seen: dict[str, Any], case: str) -> None:
    mended = seen[case]
    assert mended["right"]
    assert "openvino-bfloat16" in mended["repairs"]
    taken = mended["runtime"]["openvino_precision"]  # a CPU without such arithmetic takes float32, and that is said
    assert mended["fell_back"] == (
        None if taken == "bf16" else f"OpenVINO computes in {taken} on this CPU, not in bf16"
    )


def test_a_graph_that_went_to_inductor_beside_one_that_did_not_is_seen(seen: dict[str, Any]) -> None:
    case = seen["one of two"]
    if NEWER_TORCH:  # inductor no longer takes what OpenVINO's backend hands it
        assert case["failure"] == "error"
    else:
        assert case["right"]
        assert case["runtime"]["openvino_partitions"] == "1"
        assert case["fell_back"] == "OpenVINO's backend ran 1 graphs and gave others to inductor"


def test_what_dynamo_does_not_capture_never_reached_openvino(seen: dict[str, Any]) -> None:
    assert seen["uncompilable"]["fell_back"] == "OpenVINO ran nothing of the model, eager all of it"
