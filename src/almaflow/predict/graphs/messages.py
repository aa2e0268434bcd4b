"""Messages between the predictor that asks graphs and the process that has it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from almaflow.records import ModelSpec  # noqa: TC001 - cattrs reads the annotations


class Fault(StrEnum):
    """Why the child has no figures."""

    MISSING = "missing"
    """graphs is not there, or does not import."""
    HARDWARE = "hardware"
    """graphs knows no hardware of that name."""
    PRECISION = "precision"
    """graphs has no figures of that hardware for that element type."""
    FAILED = "failed"
    """The analysis raised, or the child ended in another way."""


@dataclass(frozen=True)
class AnalysisRequest:
    """One analysis that the child is asked for; without a model, it answers with the version of graphs alone."""

    model: ModelSpec | None
    hardware: str
    """graphs' name of the hardware."""
    precisions: tuple[str, ...]
    """Members of graphs' ``Precision``, the best first."""


@dataclass(frozen=True)
class Answer:
    """The child's answer."""

    version: str | None = None
    latency_ms: float | None = None
    """Milliseconds of one forward call on one batch."""
    energy_j: float | None = None
    """Joules per batch."""
    fault: Fault | None = None
    detail: str = ""
    """The fault in one line."""
    known: tuple[str, ...] = ()
    """Names of hardware that graphs has, where it lacks the one that was asked for."""
