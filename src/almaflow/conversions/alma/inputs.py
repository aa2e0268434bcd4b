"""Adapt models of several or integer inputs to converters that take one floating tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.models.batches import Batch

SPREADING = frozenset({"JIT_TRACE", "TORCH_SCRIPT", "ONNX_CPU", "ONNX_GPU"})
"""Steps whose converters spread a tuple of example inputs over the model's inputs by themselves."""


class Packed(torch.nn.Module):
    """A model of several inputs that takes them as one tuple."""

    def __init__(self, model: torch.nn.Module, count: int) -> None:
        super().__init__()
        self.model = model
        self.count = count

    def forward(self, inputs: Batch) -> Any:
        return self.model(*[inputs[i] for i in range(self.count)])  # by index, which FX can trace


class LikeOneTensor(tuple[torch.Tensor, ...]):
    """Several inputs with the device and the casts of one tensor; integer ones keep their type."""

    __slots__ = ()

    @property
    def device(self) -> torch.device:
        return self[0].device

    def to(self, dtype: torch.dtype) -> Batch:
        """Return the inputs with the floating ones cast to ``dtype``."""
        return tuple(tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in self)

    def half(self) -> Batch:
        return self.to(torch.float16)


def casts_its_argument(steps: tuple[str, ...]) -> bool:
    """Whether Alma's forward call casts its argument as if that were one floating tensor."""
    return steps in {("FP16", "EAGER"), ("BF16", "EAGER")} or "TORCHAO_QUANT_I4_WEIGHT_ONLY" in steps


def cast_each(forward: Callable[[Any], Any]) -> Callable[..., Any]:
    """Wrap a forward call that casts its one argument so that it takes inputs one by one."""
    return lambda *inputs: forward(LikeOneTensor(inputs))


def one_by_one(forward: Callable[[Any], Any]) -> Callable[..., Any]:
    """Wrap a forward call that takes a tuple so that it takes inputs one by one."""
    return lambda *inputs: forward(inputs)
