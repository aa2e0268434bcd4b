"""Wrap calls of compiled models that check nothing themselves: strides, sizes, and calls at the same time."""

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


def takes_turns(runtime: str, streams: int) -> tuple[str, ...]:
    """Return the note on concurrent calls of a runtime whose calls from Python hold the interpreter's lock.

    It holds however many runners the runtime has: only callers without Python run at once.
    """
    if streams == 1:
        return ()
    return (f"{runtime} holds Python's lock in a call: {streams} concurrent calls take turns, and wait for each other",)
