"""Labelled images for keeping.py: each is drawn when it is asked for, the same ones in each process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

CLASSES = 1000


class Images:
    """``count`` images (1, 3, 224, 224) of float32, each with a label (1,) of int64."""

    def __init__(self, count: int = 500) -> None:
        self.count = count

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Draw the images and their labels."""
        generator = torch.Generator().manual_seed(0)
        for _ in range(self.count):
            image = torch.randn(1, 3, 224, 224, generator=generator)
            yield image, torch.randint(CLASSES, (1,), generator=generator)
