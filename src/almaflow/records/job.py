"""A job and what became of each of its conversions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from almaflow.records.hardware import HardwareSpec
from almaflow.records.plan import PlannedConversion
from almaflow.records.prediction import Prediction
from almaflow.records.results import Failure, Measurement, ReferenceInfo
from almaflow.records.specs import MeasureSpec, ModelSpec
from almaflow.records.status import Status


@dataclass(frozen=True)
class Outcome:
    """One planned conversion, run or not."""

    planned: PlannedConversion
    status: Status
    started_at: float
    """Seconds since the epoch."""
    ended_at: float
    measurement: Measurement | None = None
    failure: Failure | None = None
    prediction: Prediction | None = None
    """Of the first predictor that the job names."""
    predictions: tuple[Prediction, ...] = ()
    """Of all that had something to say, that one and the baselines included."""
    log_path: str | None = None
    """The worker's stdout and stderr."""
    run_id: str | None = None
    """The MLflow run, once tracked."""
    interrupted: bool = False
    """Ended by the user or a signal: tracked as KILLED."""
    job_id: str | None = None
    """The job that measured it, where that was another one and this one took it over (``resume``)."""


@dataclass(frozen=True)
class Drift:
    """Eager at the job's start and at its end, in a process that only serves as the control."""

    start_ms: float
    end_ms: float
    """Medians of the rounds' medians."""
    resolved: float
    """The larger relative spread, (highest - lowest) / median, of the rounds at either end: what is less is noise."""

    @property
    def relative(self) -> float:
        """(end - start) / start, without unit: positive where the machine became slower."""
        return (self.end_ms - self.start_ms) / self.start_ms


@dataclass(frozen=True)
class Job:
    """One model on one machine through its conversions."""

    job_id: str
    directory: str
    model: ModelSpec
    hardware: HardwareSpec
    measure: MeasureSpec
    tier: int
    experiment_name: str
    config: dict[str, Any]
    """The resolved configuration, as the user would write it."""
    environment: dict[str, str]
    """``env.*`` tags without the prefix."""
    started_at: float
    prepared: ReferenceInfo | None = None
    outcomes: tuple[Outcome, ...] = ()
    ended_at: float | None = None
    run_id: str | None = None
    interrupted: bool = False
    drift: Drift | None = None
    """How far the machine moved between the job's start and its end."""
    sweep_id: str | None = None
    """What the jobs of a multirun share."""
    plan_fingerprint: str | None = None
    """Equal where a job would be the same one over again."""
    store: str | None = None
    """The MLflow store that it belongs into, without credentials."""
    tracked: bool = False
    """All that was measured is in the store, and the job's run there is closed."""
    references: tuple[Outcome, ...] = ()
    """Eager and inductor, timed again beside what a resumed job measured: for speedups only."""
