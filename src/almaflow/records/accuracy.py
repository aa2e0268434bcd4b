"""What was measured beside what predictors had said of it: what accuracy over time is read from."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RecordedPrediction:
    """What one predictor said of one conversion."""

    predictor: str
    """Its name; ``NAME@VERSION`` where a measurement was judged afterwards (``almaflow rescore``)."""
    version: str
    latency_ms: float
    low_ms: float | None = None
    high_ms: float | None = None
    """Its 90% interval, where it stated one."""
    named: bool = True
    """Whether the job asked for it: baselines are asked always."""


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """A conversion's run that gave a latency, with what predictors said of it."""

    run_id: str
    experiment: str
    at: float
    """When it was measured, in seconds since the epoch."""
    job_run_id: str
    """The run of the job that it belongs to."""
    model: str
    hardware: str
    """Name of the hardware config."""
    machine: str
    """The processor that it ran on: one config may stand for several machines."""
    conversion: str
    batch_size: int
    input_shape: str
    dtype: str
    device: str
    threads: str
    """With the processors that it was bound to, where it was."""
    calls: str
    """What one timed call was, where it was not a single call on inputs that were there: ``streams=4``."""
    latency_ms: float
    """The median."""
    floor_ms: float
    low_ms: float | None
    high_ms: float | None
    """The 95% interval of the median; None where there were too few rounds for one."""
    control_ms: float | None
    """The control workload beside it: how fast the machine was."""
    others_cpus: float | None = None
    """Processors that other processes, and other machines of the host, took meanwhile."""
    environment: dict[str, str] = field(default_factory=dict)
    """Tags ``env.*``, without the prefix."""
    said: tuple[RecordedPrediction, ...] = ()
