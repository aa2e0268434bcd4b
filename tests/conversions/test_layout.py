"""Compiled models get inputs as they were built for, and concurrent calls that wait are told."""

from __future__ import annotations

import pytest
import torch

from almaflow.conversions.built.layout import LaidOutAs, takes_turns

pytestmark = pytest.mark.slow  # importing torch takes seconds


def test_inputs_get_the_strides_of_the_example_and_are_copied_only_where_they_differ() -> None:
    example = torch.randn(2, 3, 4, 4)
    call = LaidOutAs((example,), lambda tensor: tensor)
    other = example.contiguous(memory_format=torch.channels_last)
    assert call(example) is example
    assert call(other).stride() == example.stride()
    assert torch.equal(call(other), example)


@pytest.mark.parametrize("given", [torch.zeros(3, 4), torch.zeros(2, 4, dtype=torch.float64)])
def test_another_size_or_type_is_refused(given: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="called with"):
        LaidOutAs((torch.zeros(2, 4),), lambda tensor: tensor)(given)


def test_concurrent_calls_that_take_turns_are_told() -> None:
    assert takes_turns("AOTInductor", 1) == ()
    assert "take turns" in takes_turns("AOTInductor", 2)[0]
