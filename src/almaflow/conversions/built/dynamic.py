"""Give converters the dynamic dimensions of a model's inputs in the form that each of them takes."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_leaves, tree_structure, tree_unflatten

from almaflow.models.dynamic import Axes, present_sizes, resized

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.models.batches import Batch
    from almaflow.records import DynamicDim


@dataclass(frozen=True)
class DynamicShapes:
    """The dimensions of a model's inputs whose sizes may change; false where all sizes are fixed."""

    axes: Axes = ()
    """Of each tensor of a batch, the names of its dynamic dimensions by their places."""
    dims: tuple[DynamicDim, ...] = ()
    """The range of each name."""

    def __bool__(self) -> bool:
        return any(self.axes)

    def widened(self, batch: Batch) -> Batch:
        """Return an example for exporters: they take a dynamic dimension of size 1 for a constant, and get 2."""
        sizes = present_sizes(self.axes, batch) if self else {}
        if min(sizes.values(), default=2) > 1:
            return batch
        return resized([batch], self.axes, {name: max(size, 2) for name, size in sizes.items()})

    def for_export(self, module: Any, arguments: tuple[Any, ...]) -> dict[str, Any]:
        """Return the keyword arguments of ``torch.export.export`` of a module with these arguments by position."""
        dynamic: Any = torch.export.Dim.DYNAMIC
        named = [dict.fromkeys(axes, dynamic) for axes in self.axes]
        return {"dynamic_shapes": _arranged(module, arguments, named)} if self else {}

    def for_onnx(
        self, module: Any, arguments: tuple[Any, ...], names: Sequence[str], *, dynamo: bool
    ) -> dict[str, Any]:
        """Return the keyword arguments of ``torch.onnx.export``.

        Args:
            module: What is exported.
            arguments: Its arguments by position.
            names: The names that the export gives to the tensors among them.
            dynamo: Whether it goes through ``torch.export``; else through a trace.
        """
        if not self:
            return {}
        if dynamo:
            return {"dynamic_shapes": _arranged(module, arguments, [dict(axes) for axes in self.axes])}
        return {"dynamic_axes": {name: dict(axes) for name, axes in zip(names, self.axes, strict=True) if axes}}

    def for_openvino(self, batch: Batch) -> list[list[Any]]:
        """Return the shape of each input for OpenVINO: sizes, ranges as pairs, and -1 for any size."""
        ends = {dim.name: -1 if dim.high is None else (dim.low, dim.high) for dim in self.dims}
        axes = self.axes or tuple({} for _ in batch)
        return [
            [ends[named[place]] if place in named else size for place, size in enumerate(tensor.shape)]
            for tensor, named in zip(batch, axes, strict=True)
        ]

    def mark(self, example: Any) -> None:
        """Mark the dimensions of an example's tensors for ``torch.compile``, which refuses a model that fixes them."""
        for tensor, named in zip(tree_leaves(example), self.axes, strict=True) if self else ():
            torch._dynamo.mark_dynamic(tensor, list(named))  # noqa: SLF001 - PyTorch's documentation names it so


def _arranged(module: Any, arguments: tuple[Any, ...], shapes: list[dict[int, Any]]) -> tuple[Any, ...]:
    """Return the shapes in the structure of the parameters that get the arguments."""
    arranged: tuple[Any, ...] = tree_unflatten(shapes, tree_structure(arguments))
    kinds = [each.kind for each in signature(module.forward).parameters.values()]
    return (arranged,) if Parameter.VAR_POSITIONAL in kinds else arranged
