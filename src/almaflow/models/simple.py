"""A small model of almaflow's own, for a first look that takes seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    import torch


class SimpleCNN(nn.Module):
    """Three convolutions and two linear layers, 1.1 million parameters with ten classes.

    Images are of shape (batch, 3, 32, 32), logits of shape (batch, classes).
    """

    def __init__(self, classes: int = 10) -> None:
        """Draw the weights from torch's global generator."""
        super().__init__()
        self.features = nn.Sequential(
            _block(3, 32),  # 32 x 16 x 16
            _block(32, 64),  # 64 x 8 x 8
            _block(64, 128),  # 128 x 4 x 4
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(128 * 4 * 4, 480), nn.ReLU(), nn.Linear(480, classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(images))
        return logits


def _block(channels: int, filters: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, filters, kernel_size=3, padding=1), nn.BatchNorm2d(filters), nn.ReLU(), nn.MaxPool2d(2)
    )
