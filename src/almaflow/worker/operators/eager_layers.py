"""The operators that eager PyTorch dispatches for single layers, without a model and without computing any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from almaflow.worker.operators.eager_graph import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from almaflow.records.operators import Operator

    Layer = dict[str, Any]

HEAD, WIDEST = 64, 1024
"""Width of a head of attention, and of the widest layer that gets attention."""
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "none": lambda given: given,
    "relu": torch.relu_,
    "relu6": lambda given: functional.hardtanh_(given, 0.0, 6.0),
    "silu": lambda given: functional.silu(given, inplace=True),
    "hardswish": lambda given: functional.hardswish(given, inplace=True),
    "gelu": functional.gelu,
}


def operators_of_layers(layers: Sequence[Layer]) -> tuple[Operator, ...]:
    """Return the operators of all layers."""
    with torch.no_grad(), FakeTensorMode():
        return tuple(operator for layer in layers for operator in _operators(layer))


def _operators(layer: Layer) -> list[Operator]:
    given = torch.empty(layer["shape"])
    module = _MODULES[layer["kind"]](layer).eval() if layer["kind"] in _MODULES else None
    recorder = Recorder([*module.parameters(), *module.buffers()] if module else [])
    others = [torch.empty(layer["other"])] if "other" in layer else []
    with recorder:
        if module:
            module(given)
        else:
            _FUNCTIONS[layer["kind"]](given, *others)
    return recorder.operators


class _Convolution(nn.Module):
    """A convolution, batch normalisation, where asked for the addition of another branch, and an activation."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        channels, kernel = layer["shape"][1], layer["kernel"]
        self.convolution = nn.Conv2d(
            channels, layer["out"], kernel, layer["stride"], kernel // 2, groups=layer["groups"], bias=False
        )
        self.norm = nn.BatchNorm2d(layer["out"])
        self._layer = layer

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Compute the layer."""
        made: torch.Tensor = self.norm(self.convolution(given))
        if self._layer["residual"]:
            made.add_(torch.empty_like(made))
        return ACTIVATIONS[self._layer["activation"]](made)


class _Linear(nn.Module):
    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.linear = nn.Linear(layer["shape"][1], layer["out"])
        self._activation = layer["activation"]

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Compute the layer."""
        return ACTIVATIONS[self._activation](self.linear(given))


class _Norm(nn.Module):
    """Layer normalisation, and where the width has heads, the attention behind it."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        width = layer["shape"][-1]
        self.norm = nn.LayerNorm(width)
        has_heads = width % HEAD == 0 and width <= WIDEST
        self.attention = nn.MultiheadAttention(width, width // HEAD, batch_first=True) if has_heads else None

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Compute the layer."""
        made: torch.Tensor = self.norm(given)
        if self.attention is not None:
            made, _ = self.attention(made, made, made, need_weights=False)
        return made


def _product(given: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    if given.shape[-1] == given.shape[-2]:  # of weights and values: in eager both products are one operator
        return functional.scaled_dot_product_attention(other, other, other)
    return given @ other


_MODULES: dict[str, Callable[[Layer], nn.Module]] = {"conv": _Convolution, "linear": _Linear, "norm": _Norm}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "product": _product,
    "softmax": lambda given: given.softmax(-1),
    "gelu": functional.gelu,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "hardswish": functional.hardswish,
    "max_pool": lambda given: functional.max_pool2d(given, 3, 2, 1),
    "average_pool": lambda given: functional.avg_pool2d(given, 2, 2),
    "mean": lambda given: given.mean([-1, -2], keepdim=True),
    "multiply": lambda given: given * torch.empty(*given.shape[:2], 1, 1),
    "add": lambda given: given + torch.empty_like(given),
    "image_add": lambda given: given + torch.empty_like(given),
    "transpose": lambda given: given.transpose(-1, -2).contiguous(),
    "concat": lambda given: torch.cat([given, torch.empty_like(given)], 1),
}
