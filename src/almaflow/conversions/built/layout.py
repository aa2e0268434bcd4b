"""Give inputs the strides that a compiled model was built for and does not check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.models.batches import Batch


class LaidOutAs:
    """A call of a model that reads its inputs in the order of the example's memory, whatever theirs is.

    AOTInductor's models check neither sizes, types nor strides. Inputs of other strides are copied within the call,
    since whoever deploys the model has to do so too; those of another size or type are refused.
    """

    def __init__(self, example: Batch, call: Callable[..., Any]) -> None:
        self._expected = [(tensor.shape, tensor.dtype, tensor.stride()) for tensor in example]
        self._call = call

    def __call__(self, *inputs: torch.Tensor) -> Any:
        return self._call(
            *[_laid_out(tensor, *expected) for tensor, expected in zip(inputs, self._expected, strict=True)]
        )


def _laid_out(tensor: torch.Tensor, shape: torch.Size, dtype: torch.dtype, strides: tuple[int, ...]) -> torch.Tensor:
    if tensor.shape != shape or tensor.dtype is not dtype:
        message = f"built for {dtype} of shape {tuple(shape)}, called with {tensor.dtype} of {tuple(tensor.shape)}"
        raise ValueError(message)
    if tensor.stride() == strides:
        return tensor
    return torch.empty_strided(shape, strides, dtype=dtype, device=tensor.device).copy_(tensor)
