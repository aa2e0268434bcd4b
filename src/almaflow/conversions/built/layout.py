"""Wrap calls of compiled models that check nothing themselves: strides, sizes, and calls at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from almaflow.models.memory_order import MemoryOrder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from almaflow.models.batches import Batch
    from almaflow.models.dynamic import Axes


class LaidOutAs:
    """A call of a model that reads its inputs in the order of the example's memory, whatever theirs is.

    AOTInductor's models check neither sizes, types nor strides. Inputs of other strides are copied within the call,
    since whoever deploys the model has to do so too. Those of another type are refused, and those of another size in a
    dimension that ``axes`` does not name.
    """

    def __init__(self, example: Batch, call: Callable[..., Any], axes: Axes = ()) -> None:
        self._expected = [
            _Layout(tensor, named) for tensor, named in zip(example, axes or ({},) * len(example), strict=True)
        ]
        self._call = call

    def __call__(self, *inputs: torch.Tensor) -> Any:
        return self._call(*[layout.of(tensor) for tensor, layout in zip(inputs, self._expected, strict=True)])


class _Layout:
    """The type, the sizes and the order of memory of one input."""

    def __init__(self, tensor: torch.Tensor, dynamic: Mapping[int, str]) -> None:
        self._shape, self._dtype, self._strides = tensor.shape, tensor.dtype, tensor.stride()
        self._fixed = [place for place in range(tensor.dim()) if place not in dynamic] if dynamic else None
        self._order = MemoryOrder(tensor)

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        if not self._takes(tensor.shape) or tensor.dtype is not self._dtype:
            built, given = f"{self._dtype} of shape {tuple(self._shape)}", f"{tensor.dtype} of {tuple(tensor.shape)}"
            message = f"built for {built}, called with {given}"
            raise ValueError(message)
        if tensor.stride() == self._strides:
            return tensor
        if self._fixed is None:
            laid_out = torch.empty_strided(self._shape, self._strides, dtype=self._dtype, device=tensor.device)
            return laid_out.copy_(tensor)
        return self._order.of(tensor)

    def _takes(self, shape: torch.Size) -> bool:
        if self._fixed is None or len(shape) != len(self._shape):
            return shape == self._shape
        return all(shape[place] == self._shape[place] for place in self._fixed)


def takes_turns(runtime: str, streams: int) -> tuple[str, ...]:
    """Return the note on concurrent calls of a runtime whose calls from Python hold the interpreter's lock.

    It holds however many runners the runtime has: only callers without Python run at once.
    """
    if streams == 1:
        return ()
    return (f"{runtime} holds Python's lock in a call: {streams} concurrent calls take turns, and wait for each other",)
