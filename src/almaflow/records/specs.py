"""Specifications: the model, its inputs, how to measure it, and one worker's task."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from almaflow.records.hardware import HardwareSpec
from almaflow.records.plan import PlannedConversion
from almaflow.records.quality import EvaluateSpec
from almaflow.records.results import ModelTraits
from almaflow.records.sizes import BatchSearch, DynamicDim


@dataclass(frozen=True)
class InputSpec:
    """One input of a model, without the batch dimension."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    low: int = 0
    """Smallest value of an integer input."""
    high: int | None = None
    """One more than the largest value of an integer input."""
    name: str | None = None
    """The parameter of forward that gets it; ``state.0`` is the first part of a tuple."""
    batch_dim: int | None = 0
    """The place of the batch dimension in the tensor; None: the input is the same for the whole batch."""


@dataclass(frozen=True)
class TargetSpec:
    """A callable by its import path, with its keyword arguments."""

    target: str
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SegmentRef:
    """The recorded segment of a function that a model is. Its call has no batch: one call is one sample."""

    segment_id: str
    """Digest of its graph, its constants, and sizes, strides and types of inputs and weights, without values."""
    family: str
    """What segments have in common that differ in sizes only."""
    profile_id: str
    """The session that recorded it."""
    location: str = ""
    """Where it begins in the code, as ``app.py:12``."""
    calls: int = 0
    """How often the session called it."""
    autocast: dict[str, str] = field(default_factory=dict)
    """Type of autocast by the type of the device, where it was on."""
    inputs: str = "real"
    """What was kept of its inputs: ``real``, ``permuted`` elements, or ``zeros``."""


@dataclass(frozen=True)
class ModelSpec:
    """The model to build, from exactly one of ``target``, ``arch`` and ``pickle_path``.

    ``pickle_path`` wins over ``target``, which wins over ``arch`` (a torchvision classification model).
    """

    name: str
    target: str | None = None
    arch: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    """File with the weights to load after building; None: those that building it gave."""
    inputs: tuple[InputSpec, ...] | None = None
    data_loader: TargetSpec | None = None
    calibration_loader: TargetSpec | None = None
    """What quantisers are calibrated on; None: the inputs that outputs are compared on."""
    calibration_samples: int = 300
    """Most samples that are taken of ``calibration_loader``."""
    pickle_path: str | None = None
    """File with a cloudpickled module, or with a callable that builds one."""
    batches_path: str | None = None
    """File by ``torch.save`` with inputs as ``models.items.stored`` gives them, used instead of random data."""
    batch_size: int = 1
    batch_dim: int | None = 0
    """The batch dimension of inputs that ``inputs`` does not list; None: they have none."""
    padding_mask: str | None = None
    """The input (N, L) whose elements are other than zero where there is padding."""
    attention_mask: str | None = None
    """The input (N, L) whose elements are zero where there is padding."""
    dynamic: tuple[DynamicDim, ...] = ()
    """Dimensions whose sizes may change after the conversion; empty: all sizes are fixed."""
    sizes: tuple[dict[str, int], ...] = ()
    """Further sizes at which each conversion is timed: those of dynamic dimensions, by name."""
    search: BatchSearch | None = None
    """The search for a batch size that each conversion is put through; None: there is none."""
    directory: str | None = None
    """Where the command was started: relative paths in keyword arguments are meant from there."""
    seed: int = 0
    segment: SegmentRef | None = None
    """The segment that it is: its inputs keep their strides and the memory that they share."""

    @property
    def built_in(self) -> bool:
        """Whether almaflow or torchvision builds it: its code changes with their versions only."""
        return self.pickle_path is None and (self.target or "almaflow.").startswith("almaflow.")


@dataclass(frozen=True)
class MeasureSpec:
    """Settings by which each conversion is measured, with the limits of its cost."""

    min_samples: int = 64
    min_time_s: float = 1.0
    rel_precision: float | None = 0.02
    """Half the width of the median's 95% interval, as a share of the median, at which measuring ends; None: any."""
    max_time_s: float = 6.0
    """Limit after which the timed calls of one conversion end in any case."""
    replicates: int = 1
    """Number of fresh processes in which each conversion is measured."""
    interleave: int = 8
    """Number of workers that take their rounds in turns; 1: one conversion after the other."""
    prepare_jobs: int = 1
    """Number of conversions that are loaded, converted and checked at the same time."""
    streams: int = 1
    """Number of threads that call the model at the same time; more than 1 measures throughput under load."""
    warmup_calls: int = 10
    warmup_time_s: float = 0.5
    time_budget_s: float = 600.0
    memory_limit_mb: float | None = None
    fidelity_inputs: int = 4
    include_transfer: bool = False
    """Whether the inputs are copied from the host inside the timed call."""
    pin_memory: bool = False
    non_blocking: bool = False
    keep_memory: bool = False
    """Whether the allocator of a worker keeps freed memory, as that of a process that has run for a while."""
    compile_cache: str = "cold"
    """``cold``: every worker compiles from nothing; ``warm``: compilers may reuse what earlier jobs compiled."""
    exclusive: str = "wait"
    """Reaction to another job that measures on this machine: ``wait``, ``refuse`` to run, or ``ignore`` it."""
    log_level: str = "WARNING"
    """Alma's logging level in the worker's log."""


@dataclass(frozen=True)
class Choosing:
    """Limits that a conversion has to keep to, and the metric by which the best of those that do is chosen."""

    max: dict[str, float] = field(default_factory=dict)
    """The most that a metric may be, by its name."""
    min: dict[str, float] = field(default_factory=dict)
    """The least."""
    by: str = "latency_ms"

    @property
    def asked(self) -> bool:
        """Whether the choice may be another than the fastest conversion."""
        return bool(self.max or self.min) or self.by != Choosing.by

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the choice depends on."""
        return *self.max, *self.min, self.by


@dataclass(frozen=True)
class WorkerTask:
    """Everything that one worker process needs. ``conversion`` is None for the reference worker."""

    model: ModelSpec
    hardware: HardwareSpec
    measure: MeasureSpec
    conversion: PlannedConversion | None
    work_dir: str
    """The worker's working directory, which no other shares."""
    reference_path: str
    """File with the inputs and eager outputs that the reference worker writes and the others compare with."""
    weights_digest: str | None = None
    traits: ModelTraits = field(default_factory=ModelTraits)
    """What the reference worker found out about the model."""
    sources: dict[str, str] = field(default_factory=dict)
    """Digests of the user's own modules, as the reference worker imported them."""
    replicate: int = 0
    cache_dir: str | None = None
    """Directory where compilers keep what they compiled; None: in ``work_dir``."""
    compile_jobs: int | None = None
    """Most C++ compilers that inductor runs at once; None: as many as it takes by itself."""
    evaluate: EvaluateSpec | None = None
    keep_limit_mb: float | None = None
    """Size of a converted model above which it is not written; None: any."""
    sys_path: tuple[str, ...] = ()


def family_of(model: str) -> str:
    """Return the first letters of a name: ``resnet`` of ``resnet18``, ``mobilenet`` of ``mobilenet_v3_small``."""
    letters = re.match(r"[^\W\d_]+", model)
    return letters[0].lower() if letters else model
