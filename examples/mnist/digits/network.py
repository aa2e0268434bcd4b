"""The network that is trained, quantised and measured."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

POOLED = 4
"""The factor by which two poolings make an image smaller along either side."""


class Net(nn.Module):
    """Two convolutions and a linear layer: images (N, 1, side, side) in, ten scores out."""

    def __init__(self, side: int = 8, width: int = 16, trained_int8: str | Path | None = None) -> None:
        """Make a network with random weights.

        Args:
            side: Pixels along one side of an image: 8 for scikit-learn's digits, 28 for MNIST.
            width: Channels of the first convolution; the second has twice as many.
            trained_int8: The ``qat.pt2`` that ``python -m digits.quantise`` wrote, which the conversions named QAT run
                instead of this network.
        """
        super().__init__()
        self.trained_int8 = Path(trained_int8).resolve() if trained_int8 else None
        self.features = nn.Sequential(*_block(1, width), *_block(width, 2 * width))
        self.scores = nn.Linear(2 * width * (side // POOLED) ** 2, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the scores (N, 10) of the ten digits."""
        scores: torch.Tensor = self.scores(self.features(images).flatten(1))
        return scores


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]


def trained(weights: str | Path = "trained/float.safetensors", trained_int8: str | Path | None = None) -> Net:
    """Return a network of the sizes that its weights have, in evaluation mode.

    Args:
        weights: ``float.safetensors`` of ``python -m digits.train``, or ``qat.safetensors`` of
            ``python -m digits.quantise``.
        trained_int8: As ``Net`` takes it.
    """
    state = load_file(weights)
    channels, width = state["features.3.weight"].shape[:2]
    side = POOLED * round((state["scores.weight"].shape[1] / channels) ** 0.5)
    model = Net(side, width, trained_int8)
    model.load_state_dict(state)
    return model.eval()
