"""What predictors are asked, what they may know, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from almaflow.records.calibration import LearnedCosts
from almaflow.records.workload import Workload

if TYPE_CHECKING:
    from almaflow.records.hardware import HardwareSpec
    from almaflow.records.plan import PlannedConversion
    from almaflow.records.specs import ModelSpec

BASELINE_NAMES = ("last_measured", "eager_ratio", "roofline")
"""Predictors that every job asks, whichever it names: what a prediction has to beat."""


@dataclass(frozen=True)
class PastMeasurement:
    """A conversion that was measured earlier, as predictors may learn from it."""

    model: str
    hardware: str
    conversion: str
    batch_size: int
    threads: int
    latency_ms: float
    floor_ms: float
    fingerprint: str
    """Equal where the same work was measured in the same way."""
    job_id: str
    run_id: str
    at: float
    """Seconds since the epoch."""
    speedup_vs_eager: float | None = None


@dataclass(frozen=True)
class PredictionRequest:
    """What a conversion is expected to take, and all that may be known before it is measured."""

    model: ModelSpec
    hardware: HardwareSpec
    conversion: PlannedConversion
    batch_size: int
    workload: Workload | None = None
    """None where it could not be counted."""
    fingerprint: str | None = None
    past: tuple[PastMeasurement, ...] = ()
    """Of the same hardware and threads, newest first."""
    learnt: dict[str, LearnedCosts] = field(default_factory=dict)
    """By ``almaflow calibrate`` on that hardware: from ``kernels`` alone, and with the store's ``history``."""
    eager_ms: float | None = None
    """The median of eager in the same job; None where it was not measured."""


@dataclass(frozen=True)
class Prediction:
    """A predicted latency of one forward call on one batch."""

    latency_ms: float
    predictor: str
    version: str
    energy_j: float | None = None
    """Joules per batch."""
    low_ms: float | None = None
    high_ms: float | None = None
    """The interval that is to hold the latency in 90 of 100 cases, where the predictor states one."""
    control_ms: float | None = None
    """What the control workload took when the machine was as fast as the prediction supposes."""
