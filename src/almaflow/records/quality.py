"""The evaluation of a model on labelled data: what is asked for, and what a conversion lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class EvaluateSpec:
    """A callable that gives a model named figures of quality on the labelled samples of its data loader."""

    target: str
    """Import path of the callable."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    samples: float | None = None
    """Number of samples, or their share below 1; None: all that the loader gives."""
    max_drop: float | None = None
    """Largest loss against eager with which a conversion is recommended, in the figure's own unit; None: any."""
    lower_is_better: tuple[str, ...] = ()
    """Names of figures that are errors."""


@dataclass(frozen=True)
class QualityDrop:
    """What a figure lost against eager's on the same samples, and its 95% interval; a loss is positive."""

    value: float
    low: float | None = None
    """None where the figure is one number of the whole set, which says nothing of single samples."""
    high: float | None = None
