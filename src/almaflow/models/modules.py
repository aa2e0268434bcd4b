"""Modules that the small networks of ``blocks`` are built of. Imports torch: for workers only."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Transposed(nn.Module):
    """Transposes (N, channels, positions) to tokens, (N, positions, channels)."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.transpose(1, 2)


class Residual(nn.Module):
    """Adds the output of the inner module to its input, then applies an activation."""

    def __init__(self, inner: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.inner, self.activation = inner, activation

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.activation(inputs + self.inner(inputs))
        return output


class Branches(nn.Module):
    """Applies several modules to the same input, and concatenates their channels."""

    def __init__(self, branches: list[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([branch(inputs) for branch in self.branches], 1)


class Dense(nn.Module):
    """Appends the channels of the inner module's output to those of its input."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([inputs, self.inner(inputs)], 1)


class Gate(nn.Module):
    """Multiplies each channel by a factor that the inner module computes."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = inputs * self.inner(inputs)
        return output


class Halves(nn.Module):
    """Applies the inner module to half of the channels, then interleaves the channels of both halves."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor) -> Tensor:
        kept, changed = inputs.chunk(2, 1)
        both = torch.cat([kept, self.inner(changed)], 1)
        count, channels, height, width = both.shape
        return both.view(count, 2, channels // 2, height, width).transpose(1, 2).reshape(both.shape)


class Attention(nn.Module):
    """Self-attention on tokens: ``fused`` uses PyTorch's one operator, else products and a softmax."""

    def __init__(self, width: int, heads: int, *, fused: bool) -> None:
        super().__init__()
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads, self.fused = heads, fused

    def forward(self, inputs: Tensor) -> Tensor:
        count, length, width = inputs.shape
        parts = self.project(inputs).reshape(count, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = parts[0], parts[1], parts[2]
        if self.fused:
            mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        else:
            scores = (query * (width // self.heads) ** -0.5) @ key.transpose(-2, -1)
            mixed = scores.softmax(-1) @ value
        output: Tensor = self.out(mixed.transpose(1, 2).reshape(count, length, width))
        return output


class ChannelsLast(nn.Module):
    """Applies the inner module with the channels as the last dimension."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.inner(inputs.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return output


class Rolled(nn.Module):
    """Shifts images by three rows and columns; what leaves on one side comes back on the other."""

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.roll(inputs, (-3, -3), (2, 3))
