"""A graph as code that stands by itself, with its weights in a file: the model that a segment is measured as.

A ``GraphModule`` is not pickled, since reading it back runs its code once with stand-ins: what does not depend on an
input, such as a draw at random, would become a constant.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

FILE_NAME = "<segment>"
"""The file that tracebacks name."""


@dataclass(frozen=True)
class WeightLayout:
    """A weight without its values."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    parameter: bool
    """Whether it is a parameter; else a buffer."""

    @classmethod
    def of(cls, tensor: torch.Tensor) -> WeightLayout:
        """Return the layout of a tensor, without gaps or overlaps between its elements."""
        stride = torch.empty_like(tensor, device="meta").stride()
        return cls(tuple(tensor.shape), stride, tensor.dtype, isinstance(tensor, torch.nn.Parameter))


@dataclass(frozen=True)
class GraphCode:
    """A callable that builds the module of a graph; the values of its weights are not set.

    Args:
        source: The definition of ``forward``.
        names: What the source refers to.
        weights: The layout of each weight, by its attribute.
        parts: Graphs that are arguments of operators, such as the branches of ``torch.cond``, by their attributes.
    """

    source: str
    names: dict[str, Any]
    weights: dict[str, WeightLayout]
    parts: dict[str, GraphCode] = field(default_factory=dict)

    def __call__(self) -> torch.nn.Module:
        """Build a module whose ``forward`` is the source."""
        namespace = dict(self.names)
        exec(compile(self.source, FILE_NAME, "exec"), namespace)  # noqa: S102 - the code of the user's own graph
        # A class of its own, since tools look for ``forward`` in the class.
        kind = type("Segment", (torch.nn.Module,), {"forward": namespace["forward"]})
        module: torch.nn.Module = kind()
        for name, layout in self.weights.items():
            tensor = torch.empty_strided(layout.shape, layout.stride, dtype=layout.dtype)
            if layout.parameter:
                module.register_parameter(name, torch.nn.Parameter(tensor, requires_grad=False))
            else:
                module.register_buffer(name, tensor)
        for name, part in self.parts.items():
            module.add_module(name, part())
        return module


class UnderAutocast(torch.nn.Module):
    """Runs a module with autocast on, as the graph ran when it was recorded."""

    def __init__(self, module: torch.nn.Module, device: str, dtype: str) -> None:
        super().__init__()
        self.module, self.device, self.dtype = module, device, getattr(torch, dtype)

    def forward(self, *inputs: torch.Tensor) -> object:
        """Run the module."""
        with torch.autocast(self.device, dtype=self.dtype):
            return self.module(*inputs)
