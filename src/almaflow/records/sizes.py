"""Dynamic dimensions of a model's inputs, and what a conversion did at sizes other than the one it was converted at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

BATCH = "batch"
"""The name of the batch dimension."""


@dataclass(frozen=True)
class Axis:
    """A dimension of one input."""

    input: str
    """The input's name, or its position as text."""
    dim: int
    """The place in the whole tensor, batch dimension included."""


@dataclass(frozen=True)
class DynamicDim:
    """A dimension whose size may change after the model was converted."""

    name: str
    low: int = 1
    """Smallest size."""
    high: int | None = None
    """Largest size; None: any."""
    axes: tuple[Axis, ...] = ()
    """Where it is; empty for the batch dimension of every input that has one."""

    def has(self, size: int) -> bool:
        """Whether a size is within the range."""
        return self.low <= size and (self.high is None or size <= self.high)

    def __str__(self) -> str:
        return self.name if (self.low, self.high) == (1, None) else f"{self.name} {self.low}-{self.high or ''}"


@dataclass(frozen=True)
class SizeMeasurement:
    """A conversion at one size: its timed calls, and its outputs against eager's at that size."""

    size: dict[str, int]
    """The size of each dynamic dimension by its name."""
    samples_ms: tuple[float, ...]
    sqnr_db: float | None = None
    max_abs_diff: float | None = None
    recompiles: int | None = None
    """Graphs that dynamo compiled for this size alone; None where nothing is compiled."""
    wall_s: float | None = None
    """Seconds that all timed calls took, where several are made at once; else None."""


@dataclass(frozen=True)
class BatchSearch:
    """A search for the batch from which on throughput grows no more, or the largest that keeps to limits."""

    low: int = 1
    high: int = 1024
    max_ms: dict[str, float] = field(default_factory=dict)
    """Limits of the latency by the names of its metrics, such as ``latency/p99``."""


@dataclass(frozen=True)
class BatchSearchResult:
    """The batch that a search found for one conversion, and all that were tried."""

    batch: int | None
    """None where not even the smallest one keeps to the limits."""
    reason: str
    """Why it is no larger one."""
    tried: tuple[SizeMeasurement, ...] = ()
    """From the smallest to the largest, those that do not keep to the limits too."""


def size_label(size: Mapping[str, int]) -> str:
    """Return a size as a part of a metric's name: ``8`` for a batch, ``batch-8_sequence-64`` where more is dynamic."""
    return str(size[BATCH]) if {*size} == {BATCH} else "_".join(f"{name}-{value}" for name, value in size.items())


def size_text(size: Mapping[str, int]) -> str:
    """Return a size in words: ``batch 8, sequence 64``."""
    return ", ".join(f"{name} {value}" for name, value in size.items())
