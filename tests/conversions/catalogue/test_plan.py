"""A plan keeps the order that was asked for, and says where a name or a number is not what its user may think."""

from __future__ import annotations

from dataclasses import replace

import pytest

from almaflow.conversions.catalogue.alma import NAMES
from almaflow.conversions.catalogue.plan import plan
from almaflow.conversions.catalogue.plugins import ConversionPlugin
from almaflow.records import FailureKind

README = {
    30: "JIT_TRACE",
    31: "TORCH_SCRIPT",
    32: "OPTIMUM_QUANTO_AI8WI8",
    41: "OPTIMIM_QUANTO_Wf8E5M2+COMPILE_CUDAGRAPHS",
}
"""What Alma's README has at these numbers, by the names of its code."""


def names(requested: list[str | int]) -> list[str]:
    return [each.name for each in plan(requested, 1, "cpu", allow_device_override=True)]


def test_conversions_are_planned_in_the_order_given_and_a_second_mention_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert names([2, "EAGER", 0]) == ["ONNX_CPU", "EAGER"]
    assert caplog.messages == ["conversions: 1 of the 3 names stand for one that is there already, and run once"]
    caplog.clear()
    assert names(["onnx-cpu", "EAGER"]) == ["ONNX_CPU", "EAGER"]
    assert caplog.messages == []


@pytest.mark.parametrize(("number", "name"), README.items())
def test_a_number_that_means_another_one_in_almas_readme_is_told(
    number: int, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (planned,) = names([number])
    assert planned == NAMES[number] != name
    (line,) = caplog.messages
    assert line.startswith(
        f"conversions: {number} is {planned}, as in Alma's code; in Alma's README that number is {name},"
    )


@pytest.mark.parametrize("number", [0, 29, 42])
def test_the_other_numbers_are_the_same_in_both(number: int, caplog: pytest.LogCaptureFixture) -> None:
    names([number, NAMES[number + 1]])
    assert caplog.messages == []


def test_what_takes_the_examples_size_only_is_refused_with_the_reason_where_others_are_asked_for() -> None:
    asked: list[str | int] = ["ONNX_CPU", "COMPILE_OPENVINO", "EXPORT+AOT_INDUCTOR", "AOT_INDUCTOR_PACKAGE", "ONNX_GPU"]
    fixed = plan(asked, 1, "cpu", allow_device_override=True)
    dynamic = plan(asked, 1, "cpu", allow_device_override=True, dynamic=True)
    assert [each.unavailable for each in dynamic if each.name in {"ONNX_CPU", "AOT_INDUCTOR_PACKAGE"}] == [None, None]
    assert dynamic[1].unavailable == "its torch.compile backend takes graphs of fixed sizes only; take OPENVINO"
    assert dynamic[1].unavailable_kind is FailureKind.UNSUPPORTED
    assert dynamic[2].unavailable == "Alma compiles it ahead of time for fixed sizes; take AOT_INDUCTOR_PACKAGE"
    assert [each.unavailable for each in fixed[:4]] == [None] * 4
    assert dynamic[4].unavailable == fixed[4].unavailable  # what is missing comes first


def test_a_plug_in_says_whether_it_takes_other_sizes() -> None:
    plugin = ConversionPlugin("OURS", "ours.build:run", "our runtime")
    reason = plugin.entry().fixed_sizes
    assert reason is not None
    assert "does not say" in reason
    assert replace(plugin, dynamic=True).entry().fixed_sizes is None
    assert replace(plugin, name="FP16+OURS", family="executorch", dynamic=True).entry().fixed_sizes is None
