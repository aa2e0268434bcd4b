"""Requests to predictors, the history they may learn from, and their answers."""

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
"""Predictors that every job asks besides those it names, as the baselines that a prediction has to beat."""


@dataclass(frozen=True)
class PastMeasurement:
    """An earlier measurement of a conversion, for predictors to learn from."""

    model: str
    hardware: str
    conversion: str
    batch_size: int
    threads: int
    latency_ms: float
    floor_ms: float
    fingerprint: str
    """Fingerprint that is equal where the same work was measured in the same way."""
    job_id: str
    run_id: str
    at: float
    """Seconds since the epoch."""
    speedup_vs_eager: float | None = None
    digests: dict[str, str] = field(default_factory=dict)
    """Digests of the model that was measured (``ReferenceInfo.digests``)."""


@dataclass(frozen=True)
class PredictionRequest:
    """A conversion whose latency is asked for, with all that may be known before it is measured."""

    model: ModelSpec
    hardware: HardwareSpec
    conversion: PlannedConversion
    batch_size: int
    workload: Workload | None = None
    """Operations of the model; None where they could not be counted."""
    fingerprint: str | None = None
    past: tuple[PastMeasurement, ...] = ()
    """Measurements on the same hardware with the same threads, newest first."""
    learnt: dict[str, LearnedCosts] = field(default_factory=dict)
    """Costs by ``almaflow calibrate`` on that hardware: of ``kernels`` alone, and with the store's ``history``."""
    eager_ms: float | None = None
    """Median latency of eager in the same job; None where it was not measured."""
    digests: dict[str, str] = field(default_factory=dict)
    """Those digests of the model that are known: all in a job, without one that of its operations."""

    def is_same_model(self, past: PastMeasurement) -> bool:
        """Whether an earlier measurement is of this model with this batch size, as far as its digests tell."""
        same = (past.model, past.batch_size) == (self.model.name, self.batch_size)
        return same and all(past.digests.get(name) == digest for name, digest in self.digests.items())


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
    """End of the interval to hold the latency in 90 of 100 cases, where the predictor states one, from ``low_ms``."""
    control_ms: float | None = None
    """Time of the control workload on a machine as fast as the prediction supposes."""
