"""Count what a model reads right, with intervals, and compare two models image by image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from scipy.stats import binomtest

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE = 250


def predicted(model: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """Return the digit (N) that the model gives the highest score for each image."""
    with torch.no_grad():
        return torch.cat([model(part).argmax(dim=1) for part in images.split(AT_ONCE)])


@dataclass(frozen=True)
class Score:
    """The share of images that are read right, from 0 to 1, with Wilson's 95% interval."""

    share: float
    low: float
    high: float

    @classmethod
    def of(cls, right: torch.Tensor) -> Score:
        """Count the images (N, bool) that are right."""
        interval = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
        return cls(float(right.float().mean()), interval.low, interval.high)

    def __str__(self) -> str:
        return f"{self.share:.1%} ({self.low:.1%} to {self.high:.1%})"


@dataclass(frozen=True)
class Comparison:
    """Two models on the same images, by McNemar's exact test."""

    won: int
    """Images that only the first model reads right."""
    lost: int
    """Images that only the second model reads right."""
    p_value: float
    """Probability of a difference as large as this where both models are equally good; 1 where there is none."""

    @classmethod
    def of(cls, first: torch.Tensor, second: torch.Tensor) -> Comparison:
        """Compare by which images (N, bool) either model reads right."""
        won, lost = int((first & ~second).sum()), int((second & ~first).sum())
        return cls(won, lost, binomtest(won, won + lost).pvalue if won + lost else 1.0)

    def __str__(self) -> str:
        return f"{self.won} images won, {self.lost} lost, p = {self.p_value:.2g}"
