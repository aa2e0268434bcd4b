"""Modules that the small networks are built of (``blocks``). Imports torch: for workers only."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Transposed(nn.Module):
    """Tokens of places."""

    def forward(self, given: Tensor) -> Tensor:
        """Of one batch."""
        return given.transpose(1, 2)


class Residual(nn.Module):
    """What is made is added to what was given."""

    def __init__(self, inner: nn.Module, activation: nn.Module) -> None:
        """Take what it works with."""
        super().__init__()
        self.inner, self.activation = inner, activation

    def forward(self, given: Tensor) -> Tensor:
        """Of one batch."""
        made: Tensor = self.activation(given + self.inner(given))
        return made


class Branches(nn.Module):
    """Each on the same input; their channels side by side."""

    def __init__(self, branches: list[nn.Module]) -> None:
        """Take what it works with."""
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, given: Tensor) -> Tensor:
        """Of one batch."""
        return torch.cat([branch(given) for branch in self.branches], 1)


class Dense(nn.Module):
    """The channels that are made behind those that were given."""

    def __init__(self, inner: nn.Module) -> None:
        """Take what it works with."""
        super().__init__()
        self.inner = inner

    def forward(self, given: Tensor) -> Tensor:
        """Of one batch."""
        return torch.cat([given, self.inner(given)], 1)


class Gate(nn.Module):
    """Each channel times a factor."""

    def __init__(self, inner: nn.Module) -> None:
        """Take what it works with."""
        super().__init__()
        self.inner = inner

    def forward(self, given: Tensor) -> Tensor:
        """Of one batch."""
        made: Tensor = given * self.inner(given)
        return made


class Halves(nn.Module):
    """One half of the channels is changed, then those of both in turn."""

    def __init__(self, inner: nn.Module) -> None:
        """Take what it works with."""
        super().__init__()
        self.inner = inner

    def forward(self, given: Tensor) -> Tensor:
        """Of one batch."""
        kept, changed = given.chunk(2, 1)
        made = torch.cat([kept, self.inner(changed)], 1)
        count, channels, height, width = made.shape
        return made.view(count, 2, channels // 2, height, width).transpose(1, 2).reshape(made.shape)


class Attention(nn.Module):
    """Self-attention on tokens; ``fused``: by PyTorch's one operator, else by products and softmax."""

    def __init__(self, width: int, heads: int, *, fused: bool) -> None:
        """Projections for all heads."""
        super().__init__()
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads, self.fused = heads, fused

    def forward(self, given: Tensor) -> Tensor:
        """Of one batch."""
        count, length, width = given.shape
        parts = self.project(given).reshape(count, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = parts[0], parts[1], parts[2]
        if self.fused:
            mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        else:
            scores = (query * (width // self.heads) ** -0.5) @ key.transpose(-2, -1)
            mixed = scores.softmax(-1) @ value
        made: Tensor = self.out(mixed.transpose(1, 2).reshape(count, length, width))
        return made


class ChannelsLast(nn.Module):
    """Works on the channels of each place."""

    def __init__(self, inner: nn.Module) -> None:
        """Take what it works with."""
        super().__init__()
        self.inner = inner

    def forward(self, given: Tensor) -> Tensor:
        """Of one batch."""
        made: Tensor = self.inner(given.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return made


class Rolled(nn.Module):
    """Shifted, what leaves on one side comes back on the other."""

    def forward(self, given: Tensor) -> Tensor:
        """Of one batch."""
        return torch.roll(given, (-3, -3), (2, 3))
