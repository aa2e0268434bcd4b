"""Models that do more than compute outputs from inputs, as users bring them."""

from __future__ import annotations

import torch
from torch import nn


class Counts(nn.Module):
    """Counts its calls in a buffer, and answers with the count added."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 4)
        self.calls: torch.Tensor
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        y: torch.Tensor = self.line(x) + self.calls
        return y


class Remembers(nn.Module):
    """Goes on from the state that the last call left, as a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(8, 8)
        self.state: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state: torch.Tensor = self.cell(x, self.state)
        self.state = state
        return state


class Caches(nn.Module):
    """Makes a table at its first call and keeps it, which changes no answer."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 8)
        self.table: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.table is None:
            self.table = torch.arange(8.0).cos()
        y: torch.Tensor = self.line(x) * self.table
        return y


class Drops(nn.Module):
    """Drops activations at random in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.line(nn.functional.dropout(x, 0.25))
        return y


class Samples(nn.Module):
    """Samples one of two classes, whatever the input is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.multinomial(torch.ones_like(x[:, :2]), 1)


class Normalises(nn.Module):
    """Normalises the caller's tensor in place."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x -= 0.5
        x /= 0.25
        y: torch.Tensor = self.line(x)
        return y


class SameBuffer(nn.Module):
    """Answers in the same memory at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = torch.zeros(2, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.answer.copy_(x * 2)
        return self.answer


class Branches(nn.Module):
    """Takes another layer for loud inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.quiet, self.loud = nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.loud(x) if x.abs().max() > 10 else self.quiet(x)
        return y


class Lists(nn.Module):
    """Hands values to Python without an operator."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x * sum(x.flatten()[:2].tolist())
        return y


class Keeps(nn.Module):
    """Keeps the rows that it likes: a size by values."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[x[:, 0] > 0]


class BySize(nn.Module):
    """Decides by the size of its input, which example inputs settle."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.line(x if x.shape[0] > 1 else x * 2)
        return y


class StaysInTraining(nn.Module):
    """Has a part that evaluation mode does not reach."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Sequential(nn.Linear(8, 4))

    def train(self, mode: bool = True) -> StaysInTraining:
        super().train(mode)
        self.part.training = True
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.part(x)
        return y
