"""Models that leave quantisers nothing to do, little, or something hard."""

from __future__ import annotations

import torch
from tests.models.corpus.example import Rule, always_ok, example, floats, may_be_wrong, only_with_note
from torch import Tensor, nn

QUANTISERS = (
    "EXPORT+AI8WI8_*",
    "NATIVE_*",
    "OPTIMUM_QUANTO_*",
    "TORCHAO_QUANT_*",
    "ONNX_CPU_INT8_STATIC",
    "OPENVINO_INT8",
)
WEIGHT_QUANTISERS = ("OPTIMUM_QUANTO_*", "TORCHAO_QUANT_*")


def nothing_to_do(*conversions: str) -> Rule:
    """The name says narrow, and nothing is."""
    return Rule(
        conversions,
        "there is nothing that this quantiser takes, so that the name says narrow and nothing is",
        not_right=frozenset({"ok", "ok, with a note"}),
    )


@example(floats(16), rules=(nothing_to_do("OPTIMUM_QUANTO_W*", "TORCHAO_QUANT_*"),))
class HandWritten(nn.Module):
    """A weight that is a plain parameter, and a normalisation: no linear layer, no convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.norm = nn.Parameter(torch.randn(16, 16)), nn.LayerNorm(16)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.norm(x) @ self.weight)


@example(floats(16), rules=(nothing_to_do(*WEIGHT_QUANTISERS),))
class Elementwise(nn.Module):
    """A gain and an activation."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.rand(16) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x * self.gain)


@example(
    floats(8),
    rules=(
        nothing_to_do(*QUANTISERS),
        always_ok("JIT_TRACE", "EXPORT+EAGER", "ONNX_CPU", why="running sums are common"),
    ),
)
class NoParameters(nn.Module):
    """A function without a weight, by operations that no quantiser takes."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sin().cumsum(-1)


@example(
    floats(12, 16),
    rules=(only_with_note(*WEIGHT_QUANTISERS, "NATIVE_CONVERT_*", why="one tiny layer of the weights is narrow"),),
)
class LstmHead(nn.Module):
    """Nearly all of the work is an LSTM, with one tiny layer behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(16, 64, 2, batch_first=True), nn.Linear(64, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


@example(floats(16), rules=(may_be_wrong("*", why="one channel of 1000 takes the whole range of the others"),))
class Outlier(nn.Module):
    """One channel is a thousand times the others, as in large transformers."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 32), nn.Linear(32, 8)
        self.register_buffer("scale", torch.ones(32))
        self.scale[3] = 1000
        with torch.no_grad():
            self.second.weight[:, 3] /= 1000

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x) * self.scale)


@example(floats(64), rules=(always_ok("OPTIMUM_QUANTO_WI8", "TORCHAO_QUANT_INT8", why="linear layers are its case"),))
class Perceptron(nn.Module):
    """Linear layers of fair size: what quantisers are for."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)
