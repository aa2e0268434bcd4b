"""A model whose answer at one size is frozen by a trace."""

from __future__ import annotations

import torch


class MeanOverBatch(torch.nn.Module):
    """Subtracts the mean over the batch, by a size that Python has made a plain number."""

    def __init__(self) -> None:
        super().__init__()
        self.line = torch.nn.Linear(8, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = float(int(x.shape[0]))
        y: torch.Tensor = self.line(x)
        return y - y.sum(0, keepdim=True) / rows
