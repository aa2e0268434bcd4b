"""The guard before PyTorch's int8 kernel, with a kernel of our own behind it that takes anything."""

from __future__ import annotations

import pytest
import torch

from almaflow.conversions.alma.int8_kernel import guarded


@guarded
def kernel(activations: torch.Tensor, weights: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Multiply in float32."""
    return (activations.float() @ weights.float().t() * scales).bfloat16()


def layer(inputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and scales of a layer with three outputs."""
    return torch.ones(3, inputs, dtype=torch.int8), torch.ones(3)


@pytest.mark.parametrize("inputs", [16, 48])
def test_rows_of_whole_blocks_pass(inputs: int) -> None:
    assert kernel(torch.ones(2, inputs, dtype=torch.bfloat16), *layer(inputs)).tolist() == [[inputs] * 3] * 2


@pytest.mark.parametrize("inputs", [4, 8, 20])
def test_rows_that_end_within_a_block_are_refused_in_one_line(inputs: int) -> None:
    with pytest.raises(NotImplementedError, match=rf"a multiple of 16, not {inputs}: [^\n]+$"):
        kernel(torch.ones(2, inputs, dtype=torch.bfloat16), *layer(inputs))


def test_memory_that_is_not_aligned_is_refused() -> None:
    values = torch.ones(33, dtype=torch.bfloat16)
    with pytest.raises(NotImplementedError, match="aligned memory"):
        kernel(values[1:].view(2, 16), *layer(16))
    assert kernel(values[:32].view(2, 16), *layer(16)).tolist() == [[16] * 3] * 2
