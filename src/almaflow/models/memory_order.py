"""The order in which the dimensions of a tensor lie in memory, such as channels last."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class MemoryOrder:
    """The order of one tensor, into which others of as many dimensions are brought."""

    def __init__(self, example: torch.Tensor) -> None:
        self._order = sorted(range(example.dim()), key=lambda place: -example.stride()[place])
        self._back = sorted(range(example.dim()), key=self._order.__getitem__)

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor in this order, without gaps."""
        return tensor.permute(self._order).contiguous().permute(self._back)
