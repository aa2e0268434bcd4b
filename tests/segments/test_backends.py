from __future__ import annotations

import pytest

from almaflow.errors import UsageError
from almaflow.segments.backends import resolve_backends


def test_names_of_the_catalogue_come_once_and_in_order() -> None:
    found, notes = resolve_backends(["local/onnx_cpu", "local/tier1", "LOCAL/EAGER"])
    assert [each.name for each in found] == ["local/ONNX_CPU", "local/EAGER", "local/COMPILE_INDUCTOR_DEFAULT"]
    assert [each.requested for each in found] == ["local/onnx_cpu", "local/tier1", "local/tier1"]
    assert notes == ()


def test_without_a_backend_it_is_the_quick_tier() -> None:
    assert [each.name for each in resolve_backends([])[0]] == ["local/EAGER", "local/COMPILE_INDUCTOR_DEFAULT"]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("torch-eager-cpu", "EAGER"),
        ("torch-inductor-cuda", "COMPILE_INDUCTOR_DEFAULT"),
        ("onnxrt-cpu", "ONNX_CPU"),
        ("onnxrt-tensorrt", "TENSORRT"),
        ("torch-eager-cuda[fp16]", "FP16+EAGER"),
    ],
)
def test_names_of_octoml_profile_are_told_what_they_became(theirs: str, ours: str) -> None:
    found, notes = resolve_backends([f"local/{theirs}"])
    assert [each.conversion for each in found] == [ours]
    assert notes == (f"local/{theirs} became local/{ours}",)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ONNX_CPU", "backend 'ONNX_CPU': write MACHINE/CONVERSION, as local/ONNX_CPU or local/tier2"),
        ("local/ONX_CPU", "backends=[ONX_CPU]: unknown conversion ONX_CPU; nearest: ONNX_CPU"),
        ("local/tier7", "tier=7: take 1 (quick), 2 (core) or 3 (everything)"),
        ("moon/EAGER", "backend moon/EAGER: no machine 'moon' is known; write local for this one"),
        (
            "r6i.large/onnxrt-cpu",
            "backend r6i.large/onnxrt-cpu (r6i_large/ONNX_CPU): only local is measured without a fleet; give fleet=ray",
        ),
        ("local/onnxrt-cpu[fp16]", "no conversion runs ONNX_CPU in FP16"),
    ],
)
def test_what_is_unknown_is_refused_in_one_line(name: str, told: str) -> None:
    with pytest.raises(UsageError) as raised:
        resolve_backends(["local/EAGER", name])
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_with_a_fleet_its_machines_are_named_and_a_tier_is_that_of_the_machine() -> None:
    found, notes = resolve_backends(["local/EAGER", "r6i.large/onnxrt-cpu", "g4dn_xlarge/tier1"], fleet=True)
    assert [each.name for each in found][:2] == ["local/EAGER", "r6i_large/ONNX_CPU"]
    assert {each.machine for each in found[2:]} == {"g4dn_xlarge"}
    assert notes == ("r6i.large/onnxrt-cpu became r6i_large/ONNX_CPU",)
    gpu, cpu = (
        [each.conversion for each in resolve_backends([f"{name}/tier2"], fleet=True)[0]] for name in ("t4", "cpu")
    )
    assert "TENSORRT" in gpu
    assert "TENSORRT" not in cpu
    with pytest.raises(UsageError, match="no machine 'moon' is known"):
        resolve_backends(["moon/EAGER"], fleet=True)
