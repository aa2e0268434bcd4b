"""A plan keeps the order that was asked for, and says where a name or a number is not what its user may think."""

from __future__ import annotations

import pytest

from almaflow.conversions.catalogue.alma import NAMES
from almaflow.conversions.catalogue.plan import plan

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
