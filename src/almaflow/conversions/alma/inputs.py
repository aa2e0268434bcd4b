"""Models of several inputs, or of integer ones, for converters that take one floating tensor."""

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
        """Wrap a model of ``count`` inputs."""
        super().__init__()
        self.model = model
        self.count = count

    def forward(self, inputs: Batch) -> Any:
        """Call the model."""
        return self.model(*[inputs[i] for i in range(self.count)])  # by index, which FX can trace


class LikeOneTensor(tuple[torch.Tensor, ...]):
    """Inputs that are asked and cast as if they were one tensor; integer ones stay as they are."""

    __slots__ = ()

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self[0].device

    def to(self, dtype: torch.dtype) -> Batch:
        """All of them, the floating ones as ``dtype``."""
        return tuple(tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in self)

    def half(self) -> Batch:
        """All of them, the floating ones as float16."""
        return self.to(torch.float16)


def casts_its_argument(steps: tuple[str, ...]) -> bool:
    """Whether Alma's forward call casts what it is given, in the belief that it is one floating tensor."""
    return steps in {("FP16", "EAGER"), ("BF16", "EAGER")} or "TORCHAO_QUANT_I4_WEIGHT_ONLY" in steps


def cast_each(forward: Callable[[Any], Any]) -> Callable[..., Any]:
    """A forward call that takes inputs one by one, of one that casts its argument."""
    return lambda *inputs: forward(LikeOneTensor(inputs))


def one_by_one(forward: Callable[[Any], Any]) -> Callable[..., Any]:
    """A forward call that takes inputs one by one, of one that takes a tuple."""
    return lambda *inputs: forward(inputs)
