"""A model of two inputs, tokens and numbers, as users have them; exports.py has its job in its description."""

from __future__ import annotations

import torch
from torch import nn

TOKENS, WIDTH, CLASSES = 100, 32, 10


class TokensAndNumbers(nn.Module):
    """Scores a text together with measured numbers. Tokens (N, L) of int64, numbers (N, 16); logits (N, 10)."""

    def __init__(self, layers: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, WIDTH)
        self.mix = nn.Sequential(*(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU()) for _ in range(layers)))
        self.numbers = nn.Linear(16, WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, tokens: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        text = self.mix(self.embedding(tokens)).mean(1)
        logits: torch.Tensor = self.head(torch.relu(text + self.numbers(numbers)))
        return logits
