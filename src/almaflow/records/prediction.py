"""What predictors are asked, what they may know, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from almaflow.records.specs import HardwareSpec, ModelSpec, PlannedConversion


@dataclass(frozen=True)
class Level:
    """What memory of one level gives to a working set that fits into it."""

    name: str
    gb_s: float
    """10^9 bytes per second, of all cores or of the device."""
    mb: float | None = None
    """Its size in 10^6 bytes; None: main memory."""


@dataclass(frozen=True)
class Limits:
    """How fast a machine can be."""

    gflops: dict[str, float] = field(default_factory=dict)
    """10^9 operations per second by element type, dense; a multiplication with its addition is two."""
    conv_gflops: dict[str, float] = field(default_factory=dict)
    """The same of convolutions, where these have another limit: TF32 in cuDNN, or another library."""
    achieved: dict[str, dict[str, float]] = field(default_factory=dict)
    """Rates by element type and by what was computed, where they were measured: for people, no predictor reads them."""
    bandwidth: tuple[Level, ...] = ()
    """From the smallest level to main memory."""
    overhead_us: float | None = None
    """What an operation takes however little it does, in microseconds."""
    power_w: float | None = None
    """What the device draws under load, for energy: its thermal design power, in watts."""


@dataclass(frozen=True)
class Backend:
    """What operations cost by one conversion, as it was learnt on one machine."""

    parameters: dict[str, float]
    """Of the formula in ``predict.costs``, by its names."""
    low: float
    """Measured over predicted: the smallest ratio that is to be expected in 90 of 100 cases."""
    high: float
    """The largest."""
    networks: int
    """How many it was learnt from, whole models among them."""
    control_ms: float
    """The control workload meanwhile: how fast the machine was."""
    whole: float = 1.0
    """What a model takes over what its operations take in small networks, whose data are in the caches."""


@dataclass(frozen=True)
class Learnt:
    """What was learnt on one machine."""

    version: str
    """A hash of all of it."""
    day: str
    """Of the newest measurement, as YYYY-MM-DD."""
    backends: dict[str, Backend] = field(default_factory=dict)
    """By conversion."""
    runs: tuple[str, ...] = ()
    """Of the store, that it was learnt from."""


@dataclass(frozen=True)
class Operation:
    """One operator of the eager model as PyTorch dispatches it, on one batch."""

    name: str
    """As ``aten`` calls it: ``convolution``, ``addmm``."""
    kind: str
    """Its class: ``conv``, ``conv_depthwise``, ``matmul``, ``attention``, ``elementwise`` ..."""
    flops: float
    """A multiplication with its addition is two; one for each written element where it is no product."""
    read_bytes: float
    """Of its inputs, weights left out."""
    weight_bytes: float
    written_bytes: float
    shape: tuple[int, ...]
    """Of its first output."""
    dtype: str
    sizes: dict[str, int] = field(default_factory=dict)
    """What a kernel's speed depends on: ``m``, ``n``, ``k`` of the product that it comes to, ``groups``, ``kernel``."""
    fusible: bool = False
    """An elementwise operation or a normalisation on the only use of what the operation before it gave."""


@dataclass(frozen=True)
class Workload:
    """What one forward call on one batch comes to."""

    operations: tuple[Operation, ...]
    parameters_mb: float
    """10^6 bytes."""
    batch_size: int

    @property
    def flops(self) -> float:
        """Of all operations."""
        return sum(operation.flops for operation in self.operations)


@dataclass(frozen=True)
class MeasuredModel:
    """What a model took by one conversion, with its operations: what predictors learn from."""

    model: str
    conversion: str
    workload: Workload
    floor_ms: float
    control_ms: float
    """The control workload beside it: how fast the machine was."""
    run_id: str = ""
    """Where the store has it."""


@dataclass(frozen=True)
class Past:
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
class Question:
    """What a conversion is expected to take, and all that may be known before it is measured."""

    model: ModelSpec
    hardware: HardwareSpec
    conversion: PlannedConversion
    batch_size: int
    workload: Workload | None = None
    """None where it could not be counted."""
    fingerprint: str | None = None
    past: tuple[Past, ...] = ()
    """Of the same hardware and threads, newest first."""
    learnt: dict[str, Learnt] = field(default_factory=dict)
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
