"""Graphs as dynamo hands them to a backend: what several backends do with them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_map

if TYPE_CHECKING:
    from collections.abc import Sequence

HALVES = (torch.float16, torch.bfloat16)


def examples_like(inputs: Sequence[Any]) -> tuple[torch.Tensor, ...]:
    """Tensors of the same shapes and types: what dynamo gives has no values."""
    return tuple(torch.zeros(tuple(each.shape), dtype=each.dtype, device=each.device) for each in inputs)


def computes_in(graph: torch.nn.Module, *dtypes: torch.dtype) -> bool:
    """Whether a graph has weights of one of these types."""
    return any(each.dtype in dtypes for each in (*graph.parameters(), *graph.buffers()))


class InFloat32(torch.nn.Module):
    """A graph in half precision for a runtime that has no kernels for it: its weights as they are, computed in float32.

    It takes and gives tensors of the graph's own types.
    """

    def __init__(self, graph: torch.nn.Module) -> None:
        """Copy the graph; the original stays in half precision."""
        super().__init__()
        self.dtype = next(each.dtype for each in (*graph.parameters(), *graph.buffers()) if each.dtype in HALVES)
        self.module = copy.deepcopy(graph).float()

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Cast, call, cast back."""
        outputs = self.module(*[each.float() if each.dtype in HALVES else each for each in inputs])
        return tree_map(lambda each: each.to(self.dtype) if each.is_floating_point() else each, outputs)
