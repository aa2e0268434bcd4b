"""The catalogue agrees with Alma's own registry, and with itself."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from almaflow.conversions.catalogue import native
from almaflow.conversions.catalogue.alma import ALMA, PUBLISHED_COUNT
from almaflow.conversions.catalogue.alma import STEPS as ALMA_STEPS
from almaflow.conversions.catalogue.names import resolve
from almaflow.conversions.catalogue.tiers import everything, tier, tiers_on
from almaflow.errors import UsageError

CONFINED = {
    # Alma's registry names no device for these; what its builders do runs on one only.
    "ONNX+DYNAMO_EXPORT": "cpu",
    "NATIVE_CONVERT_AI8WI8_STATIC_QUANTIZED": "cpu",
    "COMPILE_OPENVINO": "cpu",
    "FP16+COMPILE_OPENVINO": "cpu",
    "FP16+EXPORT+COMPILE_OPENVINO": "cpu",
    "COMPILE_TENSORRT": "cuda",
    "EXPORT+COMPILE_TENSORRT": "cuda",
    "FP16+COMPILE_TENSORRT": "cuda",
    "FP16+EXPORT+COMPILE_TENSORRT": "cuda",
    # Ours is another backend, which runs on either.
    "COMPILE_ONNXRT": "any",
    "EXPORT+COMPILE_ONNXRT": "any",
    "FP16+COMPILE_ONNXRT": "any",
    "FP16+EXPORT+COMPILE_ONNXRT": "any",
}
OVERRIDES = {None: "any", "CPU": "cpu", "CUDA": "cuda", "XLA_GPU": "xla"}


@pytest.fixture(scope="module")
def alma() -> Path:
    """Alma's source: importing it needs the versions of its day, reading it does not."""
    spec = find_spec("alma")
    assert spec is not None, "alma-torch is not installed: pip install -e ."
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0], "conversions")


@pytest.fixture(scope="module")
def registry(alma: Path) -> dict[int, dict[str, Any]]:
    """Keyword arguments of each ``ConversionOption`` by its number, in source form where they are no literal."""
    tree = ast.parse((alma / "conversion_options.py").read_text(encoding="utf-8"))
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "MODEL_CONVERSION_OPTIONS"
    )
    assert isinstance(value, ast.Dict)
    options = {}
    for key, call in zip(value.keys, value.values, strict=True):
        assert isinstance(key, ast.Constant)
        assert isinstance(key.value, int)
        assert isinstance(call, ast.Call)
        options[key.value] = {
            str(word.arg): word.value.value if isinstance(word.value, ast.Constant) else ast.unparse(word.value)
            for word in call.keywords
        }
    return options


@pytest.mark.alma
def test_names_and_numbers_are_those_of_the_published_registry(registry: dict[int, dict[str, Any]]) -> None:
    ours = {entry.number: entry.name for entry in ALMA if entry.in_alma == "0.3.7"}
    assert ours == {number: option["mode"] for number, option in registry.items()}
    assert len(ours) == PUBLISHED_COUNT


@pytest.mark.alma
def test_devices_are_those_of_the_registry_but_for_what_the_builders_confine(
    registry: dict[int, dict[str, Any]],
) -> None:
    for number, option in registry.items():
        assert ALMA[number].device == CONFINED.get(option["mode"], OVERRIDES[option.get("device_override")])


@pytest.mark.alma
def test_input_types_are_those_of_the_registry(registry: dict[int, dict[str, Any]]) -> None:
    for number, option in registry.items():
        assert f"torch.{ALMA[number].input_dtype}" == option.get("data_dtype", "torch.float32")


@pytest.mark.alma
def test_the_selection_knows_every_name_but_the_misspelt_one(alma: Path) -> None:
    tree = ast.parse((alma / "select.py").read_text(encoding="utf-8"))
    known = {
        node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.MatchValue) and isinstance(node.value, ast.Constant)
    }
    published = {entry.name for entry in ALMA if entry.in_alma == "0.3.7"}
    assert published - known == {"OPTIMIM_QUANTO_Wf8E5M2+COMPILE_CUDAGRAPHS"}
    assert known - published == {"OPTIMUM_QUANTO_Wf8E5M2+COMPILE_CUDAGRAPHS", "EXPORT+COMPILE_OPENVINO"}
    assert all(name in {alias for entry in ALMA for alias in entry.aliases} for name in known - published)


def test_the_repository_adds_the_bf16_family() -> None:
    """Its BF16 names follow its FP16 ones, in the same order, from 72 on."""
    added = [entry for entry in ALMA if entry.in_alma == "HEAD"]
    fp16 = [entry.name for entry in ALMA if entry.name.startswith("FP16+") and entry.name != "FP16+EAGER"]
    assert [entry.name for entry in added] == [name.replace("FP16", "BF16") for name in fp16]
    assert [entry.number for entry in added] == list(range(72, 94))
    assert {(entry.dtype, entry.input_dtype, entry.engine) for entry in added} == {("bfloat16", "bfloat16", "alma")}


@pytest.mark.parametrize(
    ("name", "family", "dtype", "quantised"),
    [
        ("EAGER", "eager", "float32", False),
        ("FP16+EAGER", "eager", "float16", False),
        ("EXPORT+EAGER", "export", "float32", False),
        ("EXPORT+COMPILE_INDUCTOR_DEFAULT", "inductor", "float32", False),
        ("EXPORT+AOT_INDUCTOR", "aot_inductor", "float32", False),
        ("EXPORT+AI8WI8_STATIC_QUANTIZED+RUN_DECOMPOSITION", "pt2e", "int8", True),
        ("OPTIMIM_QUANTO_Wf8E5M2+COMPILE_CUDAGRAPHS", "quanto", "float8_e5m2", True),
        ("COMPILE_INDUCTOR_MAX_AUTOTUNE+TORCHAO_QUANT_I4_WEIGHT_ONLY", "torchao", "int4", True),
        ("ONNX+DYNAMO_EXPORT", "onnx", "float32", False),
        ("ONNX_CPU_INT8_STATIC", "onnx", "int8", True),
        ("TORCHAO_QUANT_FP8", "torchao", "float8_e4m3fn", True),
    ],
)
def test_family_and_type_follow_the_steps(name: str, family: str, dtype: str, *, quantised: bool) -> None:
    ((_, entry),) = resolve([name])
    assert (entry.family, entry.dtype, entry.quantised) == (family, dtype, quantised)
    assert "+".join(entry.steps) == name


@pytest.mark.parametrize(
    ("name", "dtype", "input_dtype", "device"),
    [
        ("OPENVINO_FP16", "float16", "float32", "cpu"),
        ("FP16+OPENVINO", "float16", "float32", "cpu"),
        ("OPENVINO_INT8", "int8", "float32", "cpu"),
        ("TENSORRT_FP16", "float16", "float16", "cuda"),
        ("BF16+COMPILE_INDUCTOR_FREEZING", "bfloat16", "bfloat16", "any"),
        ("TORCHAO_QUANT_INT8+COMPILE_INDUCTOR", "int8", "float32", "any"),
    ],
)
def test_our_own_say_what_they_compute_in_and_what_they_take(
    name: str, dtype: str, input_dtype: str, device: str
) -> None:
    ((_, entry),) = resolve([name])
    assert (entry.dtype, entry.input_dtype, entry.device) == (dtype, input_dtype, device)
    assert entry.engine == "native"


def test_no_step_is_described_in_vain() -> None:
    assert {step for entry in ALMA for step in entry.steps} == set(ALMA_STEPS)
    assert {step for entry in native.NATIVE for step in entry.steps} == set(native.STEPS)


def test_every_step_of_ours_is_built_and_only_the_last_one_runs_the_model() -> None:
    from almaflow.conversions.native import CHANGES, RUNS

    assert CHANGES.keys().isdisjoint(RUNS)
    assert set(CHANGES) | set(RUNS) == set(native.STEPS)
    assert all(step in CHANGES for entry in native.NATIVE for step in entry.steps[:-1])


def test_no_two_entries_answer_to_the_same_name_in_any_case() -> None:
    spellings = [spelling.casefold() for entry in everything() for spelling in (entry.name, *entry.aliases)]
    assert len(spellings) == len(set(spellings))


def test_tier_1_and_2_are_the_deployment_paths_of_the_device() -> None:
    assert [entry.name for entry in tier(1, "cuda")] == ["EAGER", "COMPILE_INDUCTOR_DEFAULT"]
    assert [entry.name for entry in tier(2, "cpu")] == [
        "EAGER",
        "COMPILE_INDUCTOR_DEFAULT",
        "ONNX_CPU",
        "COMPILE_OPENVINO",
        "ONNX_CPU_INT8_STATIC",
    ]
    assert [entry.name for entry in tier(2, "cuda")] == [
        "EAGER",
        "COMPILE_INDUCTOR_DEFAULT",
        "COMPILE_INDUCTOR_MAX_AUTOTUNE",
        "FP16+COMPILE_CUDAGRAPHS",
        "ONNX_GPU",
        "TENSORRT",
        "TORCHAO_QUANT_INT8+COMPILE_INDUCTOR",
    ]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_tier_3_is_all_that_is_built_and_holds_the_lower_ones(device: str) -> None:
    entries = tier(3, device)
    assert entries[0].name == "EAGER"
    assert entries == list(everything())
    assert set(tier(1, device)) <= set(tier(2, device)) <= set(entries)
    assert all(entry in tier(number, device) for entry in entries for number in tiers_on(entry, device))


@pytest.mark.parametrize(("number", "device"), [(0, "cpu"), (4, "cuda"), (2, "tpu")])
def test_a_tier_or_device_that_is_not_there_is_the_users_error(number: int, device: str) -> None:
    with pytest.raises(UsageError, match="take"):
        tier(number, device)
