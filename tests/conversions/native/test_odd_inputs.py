"""Conversions built here answer as eager does whatever the strides, types, sizes and outputs."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.conversion_child import in_child
from tests.support.odd_inputs import CASES, tried

pytestmark = pytest.mark.slow

HALVES = ("bfloat16", "float16", "mixed")

CONVERSIONS: dict[str, tuple[str, ...]] = {
    "OPENVINO": tuple(CASES),
    "EXECUTORCH_XNNPACK": tuple(CASES),
    "ONNX_CPU": tuple(case for case in CASES if case != "bfloat16"),  # no kernels for it on a CPU
    "AOT_INDUCTOR_PACKAGE": ("images", "the same twice", "unused", "answers"),  # seconds of a compiler for each
    "EXPORT+AOT_INDUCTOR": ("images",),
    "COMPILE_ONNXRT": ("images", "pair", "answers", "kinds", "nothing", "bfloat16", "mixed"),
    "COMPILE_TVM": ("images",),
}
"""Conversions, and the cases that each is tried on."""


def in_child_odd() -> dict[str, Any]:
    found: dict[str, Any] = {name: {case: tried(name, case) for case in cases} for name, cases in CONVERSIONS.items()}
    found["without"] = tried("EXPORT+AOT_INDUCTOR", "images", ("aot-inductor-runners",))
    return found


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_child(in_child_odd, tmp_path_factory.mktemp("odd"))


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, cases in CONVERSIONS.items() for case in cases])
def test_the_answer_is_that_of_eager_and_the_inputs_stay_as_they_are(
    seen: dict[str, Any], name: str, case: str
) -> None:
    found = seen[name][case]
    assert "failure" not in found, found
    assert found.pop("evidence") is None
    assert set(found) == {"example", *CASES[case][2]}
    for way, gap in found.items():
        assert isinstance(gap, float), (way, gap)
        assert gap < (0.02 if case in HALVES else 1e-4), (way, gap)


def test_alma_reads_other_strides_in_the_order_of_the_example(seen: dict[str, Any]) -> None:
    assert seen["without"]["example"] < 1e-4
    assert seen["without"]["channels last"] > 0.1
