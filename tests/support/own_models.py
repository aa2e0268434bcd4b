"""A model and a data loader as users write them, of which everything can be changed a little."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence


class Identified(nn.Module):
    """Holds values in each of the ways in which models do."""

    def __init__(
        self,
        *,
        fill: float = 1.0,
        scale: float = 1.0,
        table: Sequence[float] = (1.0, 2.0),
        hidden: float = 1.0,
        repeats: int = 2,
        note: str = "",
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((4,), fill))
        self.scale = scale
        self.table = torch.tensor(table)
        self.parts = [nn.PReLU(init=hidden)]
        self.repeats = repeats
        self.note = note

    def forward(self, x: torch.Tensor | None = None, y: torch.Tensor | None = None) -> torch.Tensor:
        given = x if x is not None else y
        assert given is not None
        answer = given * self.weight
        for _ in range(self.repeats):
            answer = self.parts[0](answer) * self.scale + self.table.sum()
        return answer


def numbered_batches(shape: Sequence[int] = (2, 4), last: float = 1.0) -> list[torch.Tensor]:
    return [torch.zeros(*shape), torch.full(tuple(shape), last)]
