"""What is broken in Alma without each repair, what is right with it, and that none is applied without need."""

from __future__ import annotations

import importlib
import shutil
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.conversion_child import NEWER_TORCH, convert, in_child

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.alma]

NEEDED = {
    "moved-quantize-pt2e": NEWER_TORCH,
    "moved-xnnpack-quantizer": NEWER_TORCH,
    "export-for-training": NEWER_TORCH,
    "onnx-dynamo-export": NEWER_TORCH,
    "onnx-model-directory": True,
    "native-convert-device": True,
    "bf16-eager": True,
    "bf16-family": True,
    "optimim-typo": True,
    "onnx-input-names": NEWER_TORCH,
    "cast-inputs": True,
    "onnx-session": True,
    "traced-outputs": True,
}
"""Repairs and whether the installed versions need them. The one for OpenVINO is looked at elsewhere."""

CASES = {
    "export-for-training": ("EXPORT+AI8WI8_FLOAT_QUANTIZED", "linear"),
    "onnx-dynamo-export": ("ONNX+DYNAMO_EXPORT", "linear"),
    "onnx-model-directory": ("ONNX+DYNAMO_EXPORT", "linear"),
    "native-convert-device": ("NATIVE_CONVERT_AI8WI8_STATIC_QUANTIZED", "linear"),
    "bf16-eager": ("BF16+EAGER", "linear"),
    "bf16-family": ("BF16+JIT_TRACE", "linear"),
    "optimim-typo": ("OPTIMIM_QUANTO_Wf8E5M2+COMPILE_CUDAGRAPHS", "linear"),
    "onnx-input-names": ("ONNX_CPU", "two floats"),
    "cast-inputs": ("FP16+EAGER", "tokens and floats"),
    "onnx-session": ("ONNX_CPU", "two floats"),
    "traced-outputs": ("JIT_TRACE", "keyed"),
}
"""A conversion and a model that meet the defect, in an order in which no repair hides the next defect."""

BROKEN = {
    "export-for-training": "no attribute 'export_for_training'",
    "onnx-model-directory": "model/model.onnx",
    "onnx-dynamo-export": "no attribute 'dynamo_export'",
    "native-convert-device": "name 'device' is not defined",
    "bf16-eager": "the output is a function",
    "bf16-family": "BF16+JIT_TRACE is not supported",
    "optimim-typo": "OPTIMIM_QUANTO_Wf8E5M2+COMPILE_CUDAGRAPHS is not supported",
    "onnx-input-names": "left.weight does not match",
    "cast-inputs": "has no attribute 'half'",
    "onnx-session": "has no attribute 'cpu'",
    "traced-outputs": "Encountering a dict at the output of the tracer",
}
"""What is said without the repair."""


HARMLESS = {"onnx-input-names"}
"""Applied where the case does not need it too: inputs that an export drops are known by their names."""


def in_child_import_and_convert() -> dict[str, Any]:
    """Import Alma with more and more of the moved modules, then each case without and with its repair."""
    found: dict[str, Any] = {"import": [], "without": {}, "with": {}}
    from almaflow.conversions.alma.repairs import apply_repairs

    moved = ("moved-quantize-pt2e", "moved-xnnpack-quantizer")
    for skip in (moved, moved[1:], ()):
        applied = apply_repairs(("EAGER",), frozenset(skip))
        error = None
        try:
            import alma.conversions.select  # noqa: F401
        except ImportError as problem:
            error = str(problem)
        found["import"].append({"applied": list(applied), "error": error})
    import torch.ao.quantization as theirs

    found["replaced"] = sorted(
        name
        for name, module in sys.modules.items()
        if name.startswith(theirs.__name__) and getattr(module, "__name__", name) != name
    )
    for repair, (name, model) in CASES.items():
        for key, skip in (("without", (repair,)), ("with", ())):
            shutil.rmtree("model", ignore_errors=True)
            found[key][repair] = convert(name, model, skip=skip)
    return found


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_child(in_child_import_and_convert, tmp_path_factory.mktemp("repairs"), fresh=True)


def test_every_repair_has_its_case() -> None:
    from almaflow.conversions.alma.repairs import REPAIRS

    assert {repair.name for repair in REPAIRS} <= set(NEEDED)
    assert set(CASES) == set(NEEDED) - {"moved-quantize-pt2e", "moved-xnnpack-quantizer"} == set(BROKEN)


def test_import_of_alma_fails_without_the_moved_modules_and_is_left_alone_where_they_are(seen: dict[str, Any]) -> None:
    without, half, whole = seen["import"]
    assert whole["error"] is None
    if NEWER_TORCH:
        assert "torch.ao.quantization.quantize_pt2e" in without["error"]
        assert half["applied"] == ["moved-quantize-pt2e"]
        assert "torch.ao.quantization.quantizer" in half["error"]
        assert whole["applied"] == ["moved-xnnpack-quantizer"]
    else:
        assert without == half == whole == {"applied": [], "error": None}
        assert seen["replaced"] == []


@pytest.mark.parametrize("repair", CASES)
def test_a_repair_mends_what_is_broken_and_is_not_applied_elsewhere(seen: dict[str, Any], repair: str) -> None:
    without, repaired = seen["without"][repair], seen["with"][repair]
    assert repaired["failure"] is None, repaired
    assert repaired["shape"] == [2, 6]
    assert repair not in without.get("repairs", [])
    if NEEDED[repair]:
        assert repair in repaired["repairs"]
        assert BROKEN[repair] in without["message"]
    else:
        assert (repair in repaired["repairs"]) == (repair in HARMLESS)
        assert without["failure"] is None


def test_repaired_conversions_answer_right(seen: dict[str, Any]) -> None:
    assert all(case["right"] for case in seen["with"].values()), seen["with"]


def test_the_misspelt_name_reaches_what_it_means(seen: dict[str, Any]) -> None:
    case = seen["with"]["optimim-typo"]
    assert case["runtime"]["quantised_weights"] == "1"
    assert case["runtime"]["dynamo_graphs"] == "1"
    # Without a GPU there is nothing to replay, and what ran eagerly in its place is not taken for CUDA graphs.
    assert case["runtime"]["cudagraph_skips"] == "1"
    assert "CUDA graphs cannot replay" in case["fell_back"]


def test_sessions_have_the_threads_that_were_asked_for(seen: dict[str, Any]) -> None:
    assert seen["with"]["onnx-session"]["runtime"] == {"provider": "CPUExecutionProvider", "onnxruntime_threads": "1"}


def test_alma_is_imported_without_what_none_of_the_planned_conversions_needs(tmp_path: Path) -> None:
    found = in_child(in_child_later, tmp_path, fresh=True)
    assert found == {
        "early": [],
        "not of quanto": False,
        "later": None if not find_spec("transformers") else "optimum.quanto.models.transformers_models",
        "models": "optimum.quanto.models",
        "quantiser": "XNNPACKQuantizer",
        "is one": [True, True],
        "inherits": True,
        "true class": True,
        "unknown": False,
    }


def in_child_later() -> dict[str, Any]:
    from almaflow.worker.fork_server import import_all

    import_all(["torch", "alma.conversions.select"])
    assert "alma.conversions.select" in sys.modules
    early = sorted(name for name in ("transformers", "executorch.exir", "optimum.quanto.models") if name in sys.modules)
    import optimum.quanto

    models = optimum.quanto.models.__name__
    absent = hasattr(optimum.quanto, "nothing_of_this_name")
    wrapper = getattr(optimum.quanto, "QuantizedModelForCausalLM", None)  # whoever asks for one gets it
    from alma.conversions.options import export_quant

    made = export_quant.XNNPACKQuantizer()
    of_alma: Any = export_quant.XNNPACKQuantizer

    class Own(of_alma):  # type: ignore[misc]
        pass

    old = importlib.import_module("torch.ao.quantization.quantizer.xnnpack_quantizer")
    return {
        "early": early,
        "models": models,
        "is one": [isinstance(made, of_alma), issubclass(Own, of_alma)],
        "inherits": isinstance(Own(), type(made)),
        "true class": old.XNNPACKQuantizer is type(made),
        "unknown": hasattr(old, "nothing_of_this_name"),
        "not of quanto": absent,
        "later": getattr(wrapper, "__module__", None),
        "quantiser": type(made).__name__,
    }


def test_eager_needs_no_repair_but_the_moved_modules(tmp_path: Path) -> None:
    found = in_child(in_child_eager, tmp_path, fresh=True)
    moved = ["moved-quantize-pt2e", "moved-xnnpack-quantizer"]
    assert found["repairs"] == (moved if NEWER_TORCH else [])
    assert found["sqnr_db"] == pytest.approx(200.0)


def in_child_eager() -> dict[str, Any]:
    return convert("EAGER", "linear")
