"""A job and the outcomes of its conversions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from almaflow.records.hardware import HardwareSpec
from almaflow.records.plan import PlannedConversion
from almaflow.records.prediction import Prediction
from almaflow.records.quality import EvaluateSpec
from almaflow.records.results import Failure, Measurement, ReferenceInfo
from almaflow.records.specs import Choosing, MeasureSpec, ModelSpec
from almaflow.records.status import Status


@dataclass(frozen=True)
class Outcome:
    """The outcome of one planned conversion, run or not."""

    planned: PlannedConversion
    status: Status
    started_at: float
    """Seconds since the epoch."""
    ended_at: float
    measurement: Measurement | None = None
    failure: Failure | None = None
    prediction: Prediction | None = None
    """Prediction of the first predictor that the job names."""
    predictions: tuple[Prediction, ...] = ()
    """Predictions of all predictors that made one, the first and the baselines included."""
    log_path: str | None = None
    """File with the worker's stdout and stderr."""
    run_id: str | None = None
    """ID of its MLflow run, once tracked."""
    interrupted: bool = False
    """Whether it was ended before all that was asked for was measured: tracked as KILLED, and resumed."""
    job_id: str | None = None
    """ID of the job that measured it, if this one took it over from another (``resume``)."""


@dataclass(frozen=True)
class Drift:
    """Latency of eager at the job's start and at its end, in a process that only serves to probe the machine."""

    start_ms: float
    end_ms: float
    """Median of the rounds' medians, as is ``start_ms``."""
    resolved: float
    """Larger relative spread, (highest - lowest) / median, of the rounds at either end: a smaller drift is noise."""

    @property
    def relative(self) -> float:
        """Drift as (end - start) / start: positive where the machine became slower."""
        return (self.end_ms - self.start_ms) / self.start_ms


@dataclass(frozen=True)
class Job:
    """One model on one machine, with the outcomes of its conversions."""

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
    """Drift of the machine between the job's start and its end."""
    choose: Choosing = field(default_factory=Choosing)
    """Limits under which the best conversion is chosen."""
    sweep_id: str | None = None
    """ID that the jobs of a multirun share."""
    plan_fingerprint: str | None = None
    """Fingerprint that is equal where a job would be the same one over again."""
    store: str | None = None
    """URI of its MLflow store, without credentials."""
    tracked: bool = False
    """Whether all that was measured is in the store, and the job's run there is closed."""
    references: tuple[Outcome, ...] = ()
    """Outcomes of eager and inductor, timed again beside those of a resumed job, for speedups only."""
    evaluate: EvaluateSpec | None = None
    """The evaluation on labelled data that was asked for."""
    machine: str | None = None
    """Random ID of the machine that measured it."""
