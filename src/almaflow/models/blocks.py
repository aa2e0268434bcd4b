"""Builds the small networks that ``almaflow calibrate`` measures. Imports torch: for workers only.

A network is a list of layers. A layer is a list of its kind and that kind's arguments (``LAYERS``), for instance
``["conv", 64, 3, 2, 1, "relu"]``.
Images are (N, channels, height, width), tokens (N, count, width).
"""

from __future__ import annotations

import math
from types import FunctionType
from typing import TYPE_CHECKING, Any

from torch import nn

from almaflow.models.modules import (
    Attention,
    Branches,
    ChannelsLast,
    Dense,
    Gate,
    Halves,
    Residual,
    Rolled,
    Transposed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

Shape = tuple[int, ...]
Layer = list[Any]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "hardswish": nn.Hardswish,
    "sigmoid": nn.Sigmoid,
}


class Network(nn.Module):
    """The layers, one after the other."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.layers(inputs)
        return output


def network(layers: list[Layer], shape: list[int]) -> nn.Module:
    """Build a network for inputs of one shape.

    Args:
        layers: At least one layer.
        shape: The shape of an input, without the batch.

    Raises:
        ValueError: a layer is none of ``LAYERS``.
    """
    model = Network(_sequence(layers, tuple(shape))[0])
    # TorchDynamo keeps what it compiled by code object, and looks through all of it at each call. Networks of one
    # process that share a code object would slow each other down, so each has its own.
    code = FunctionType(Network.forward.__code__.replace(), globals())
    model.__class__ = type("Network", (Network,), {"forward": code})
    return model


def _sequence(layers: list[Layer], shape: Shape) -> tuple[nn.Module, Shape]:
    modules: list[nn.Module] = []
    for kind, *arguments in layers:
        if kind not in LAYERS:
            message = f"no layer is called {kind}; there are {', '.join(LAYERS)}"
            raise ValueError(message)
        module, shape = LAYERS[kind](shape, *arguments)
        modules.append(module)
    return nn.Sequential(*modules), shape


def _conv(  # noqa: PLR0913, PLR0917 - a convolution has as many
    shape: Shape, out: int, kernel: int | list[int], stride: int = 1, groups: int = 1, activation: str = "relu"
) -> tuple[nn.Module, Shape]:
    """Convolution, batch normalisation and activation; ``groups`` 0 means one for each channel."""
    high, wide = kernel if isinstance(kernel, list) else (kernel, kernel)
    window, padding = (high, wide), (high // 2, wide // 2)
    groups = groups or shape[0]
    convolution = nn.Conv2d(shape[0], out, window, stride, padding, groups=groups, bias=False)
    size = tuple(
        (each + 2 * pad - width) // stride + 1 for each, pad, width in zip(shape[1:], padding, window, strict=True)
    )
    layers: list[nn.Module] = [convolution, nn.BatchNorm2d(out)]
    if activation != "none":
        layers.append(ACTIVATIONS[activation]())
    return nn.Sequential(*layers), (out, *size)


def _patches(shape: Shape, width: int, size: int) -> tuple[nn.Module, Shape]:
    """A convolution without overlap, as in vision transformers, and its positions as tokens."""
    count = math.prod(side // size for side in shape[1:])
    return nn.Sequential(nn.Conv2d(shape[0], width, size, size), nn.Flatten(2), Transposed()), (count, width)


def _pool(shape: Shape, kind: str, kernel: int, stride: int) -> tuple[nn.Module, Shape]:
    module = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}[kind](kernel, stride, kernel // 2)
    return module, (shape[0], *((side + 2 * (kernel // 2) - kernel) // stride + 1 for side in shape[1:]))


def _head(shape: Shape, classes: int) -> tuple[nn.Module, Shape]:
    """The mean over all positions, and a linear layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(shape[0], classes)), (classes,)


def _residual(shape: Shape, layers: list[Layer], activation: str = "none") -> tuple[nn.Module, Shape]:
    return Residual(_sequence(layers, shape)[0], ACTIVATIONS[activation]()), shape


def _branches(shape: Shape, *branches: list[Layer]) -> tuple[nn.Module, Shape]:
    """Several sequences on the same input, whose channels are concatenated."""
    built = [_sequence(layers, shape) for layers in branches]
    return Branches([module for module, _ in built]), (sum(out[0] for _, out in built), *built[0][1][1:])


def _dense(shape: Shape, growth: int, width: int) -> tuple[nn.Module, Shape]:
    """Two convolutions after normalisations, whose channels are appended to the input's."""
    inner = nn.Sequential(
        nn.BatchNorm2d(shape[0]), nn.ReLU(), nn.Conv2d(shape[0], width, 1, bias=False),
        nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, growth, 3, padding=1, bias=False),
    )  # fmt: skip
    return Dense(inner), (shape[0] + growth, *shape[1:])


def _gate(shape: Shape, width: int, activation: str, gate: str) -> tuple[nn.Module, Shape]:
    """Squeeze and excitation: each channel times a factor computed from the means of all channels."""
    gates = nn.Hardsigmoid() if gate == "hardsigmoid" else nn.Sigmoid()
    inner = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(shape[0], width, 1), ACTIVATIONS[activation](),
        nn.Conv2d(width, shape[0], 1), gates,
    )  # fmt: skip
    return Gate(inner), shape


def _halves(shape: Shape, layers: list[Layer]) -> tuple[nn.Module, Shape]:
    """The layers on half of the channels, then the channels of both halves interleaved."""
    return Halves(_sequence(layers, (shape[0] // 2, *shape[1:]))[0]), shape


def _linear(shape: Shape, out: int, activation: str = "none") -> tuple[nn.Module, Shape]:
    return nn.Sequential(nn.Linear(shape[-1], out), ACTIVATIONS[activation]()), (*shape[:-1], out)


def _transformer(shape: Shape, heads: int, ratio: int, attention: str) -> tuple[nn.Module, Shape]:
    """Attention and two linear layers; ``attention`` is ``fused`` (one operator of PyTorch's) or ``parts``."""
    width = shape[-1]
    mixer = nn.Sequential(nn.LayerNorm(width), Attention(width, heads, fused=attention == "fused"))
    hidden = ratio * width
    mixing = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
    return nn.Sequential(Residual(mixer, nn.Identity()), Residual(mixing, nn.Identity())), shape


def _mixing(shape: Shape, kernel: int, ratio: int) -> tuple[nn.Module, Shape]:
    """A depthwise convolution, then normalisation and two linear layers at each position."""
    width = shape[0]
    depthwise = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
    pointwise = nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width)
    )
    return Residual(nn.Sequential(depthwise, ChannelsLast(pointwise)), nn.Identity()), shape


def _rolled(shape: Shape) -> tuple[nn.Module, Shape]:
    return Rolled(), shape


def _activation(shape: Shape, kind: str) -> tuple[nn.Module, Shape]:
    return ACTIVATIONS[kind](), shape


def _norm(shape: Shape) -> tuple[nn.Module, Shape]:
    return nn.LayerNorm(shape[-1]), shape


def _batch_norm(shape: Shape) -> tuple[nn.Module, Shape]:
    return nn.BatchNorm2d(shape[0]), shape


def _softmax(shape: Shape) -> tuple[nn.Module, Shape]:
    return nn.Softmax(-1), shape


LAYERS: dict[str, Callable[..., tuple[nn.Module, Shape]]] = {
    "conv": _conv,
    "patches": _patches,
    "pool": _pool,
    "head": _head,
    "residual": _residual,
    "branches": _branches,
    "dense": _dense,
    "gate": _gate,
    "halves": _halves,
    "linear": _linear,
    "transformer": _transformer,
    "mixing": _mixing,
    "roll": _rolled,
    "activation": _activation,
    "layer_norm": _norm,
    "batch_norm": _batch_norm,
    "softmax": _softmax,
}
