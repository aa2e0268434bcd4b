"""Read from a model's weights whether they are in channels-last order."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import torch

from almaflow.conversions.built.evidence import ExecutionEvidence

if TYPE_CHECKING:
    from almaflow.models.batches import Batch

IMAGES = 4
"""Number of dimensions of images, (N, C, H, W), for which PyTorch has a channels-last format."""


def channels_last_weights(model: torch.nn.Module, inputs: Batch) -> ExecutionEvidence:
    """Count the weights of images that are in channels-last order; the call itself reorders the images it gets."""
    images = [tensor for tensor in chain(model.parameters(), model.buffers()) if tensor.dim() == IMAGES]
    ordered = sum(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in images)
    fell_back = None
    if not images and all(tensor.dim() != IMAGES for tensor in inputs):
        fell_back = "nothing is in channels-last order: no weight and no input has the four dimensions of images"
    elif ordered < len(images):
        fell_back = f"{len(images) - ordered} of {len(images)} weights are not in channels-last order"
    return ExecutionEvidence({"channels_last_weights": str(ordered)}, fell_back)
