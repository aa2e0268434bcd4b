"""Handle the graphs that dynamo hands to a backend, for several backends."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_map

if TYPE_CHECKING:
    from collections.abc import Sequence

HALVES = (torch.float16, torch.bfloat16)


def examples_like(inputs: Sequence[Any]) -> tuple[torch.Tensor, ...]:
    """Return tensors of the same shapes and types, since the inputs from dynamo have no values."""
    return tuple(torch.zeros(tuple(value.shape), dtype=value.dtype, device=value.device) for value in inputs)


def computes_in(graph: torch.nn.Module, *dtypes: torch.dtype) -> bool:
    """Whether a graph has weights of one of these types."""
    return any(tensor.dtype in dtypes for tensor in (*graph.parameters(), *graph.buffers()))


class InFloat32(torch.nn.Module):
    """A graph in half precision that is computed in float32, for a runtime without kernels for half precision.

    Its weights keep their rounded values. It takes and returns tensors of the graph's own types.
    """

    def __init__(self, graph: torch.nn.Module) -> None:
        super().__init__()
        self.dtype = next(value.dtype for value in (*graph.parameters(), *graph.buffers()) if value.dtype in HALVES)
        self.module = copy.deepcopy(graph).float()  # the original stays in half precision

    def forward(self, *inputs: torch.Tensor) -> Any:
        outputs = self.module(*[each.float() if each.dtype in HALVES else each for each in inputs])
        return tree_map(lambda each: each.to(self.dtype) if each.is_floating_point() else each, outputs)
