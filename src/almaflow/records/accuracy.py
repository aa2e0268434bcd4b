"""Measured runs with the predictions made of them, from which accuracy over time is read."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RecordedPrediction:
    """The prediction that one predictor made of one conversion."""

    predictor: str
    """Its name; ``NAME@VERSION`` where it predicted after the measurement (``almaflow rescore``)."""
    version: str
    latency_ms: float
    low_ms: float | None = None
    high_ms: float | None = None
    """End of its 90% interval, where it stated one; ``low_ms`` is the start."""
    named: bool = True
    """Whether the job named it: baselines are asked in any case."""


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """A conversion's run that gave a latency, with the predictions of it."""

    run_id: str
    experiment: str
    at: float
    """Time of the measurement, in seconds since the epoch."""
    job_run_id: str
    """ID of the run of its job."""
    model: str
    hardware: str
    """Name of the hardware config."""
    machine: str
    """Name of the processor that it ran on: one config may stand for several machines."""
    conversion: str
    batch_size: int
    input_shape: str
    dtype: str
    device: str
    threads: str
    """Number of threads, with the processors that they were bound to, if any."""
    calls: str
    """Settings of the timed calls that are not the usual ones, such as ``streams=4``."""
    latency_ms: float
    """Median of the samples."""
    floor_ms: float
    low_ms: float | None
    high_ms: float | None
    """End of the median's 95% interval, ``low_ms`` the start; None where there were too few rounds for one."""
    control_ms: float | None
    """Time of the control workload beside it, for how fast the machine was."""
    others_cpus: float | None = None
    """Processors that other processes and other virtual machines of the host took meanwhile."""
    environment: dict[str, str] = field(default_factory=dict)
    """Tags ``env.*``, without the prefix."""
    said: tuple[RecordedPrediction, ...] = ()
    model_digest: str = ""
    """Eight digits that tell versions of a model apart; nothing of a built-in model, or by an older almaflow."""
    machine_id: str = ""
    """Random ID of the machine that measured it; nothing by an older almaflow."""

    @property
    def counts(self) -> bool:
        """Whether it has a latency that a prediction can be held against."""
        return self.latency_ms > 0 and self.floor_ms > 0
