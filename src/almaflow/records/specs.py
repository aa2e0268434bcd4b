"""What is to be done: the model, the machine, how to measure, and one worker's task."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from almaflow.records.hardware import HardwareSpec
from almaflow.records.plan import PlannedConversion


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


@dataclass(frozen=True)
class TargetSpec:
    """A callable by its import path, and what to call it with."""

    target: str
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelSpec:
    """What the worker builds: exactly one of ``target``, ``arch`` and ``pickle_path`` is used.

    ``pickle_path`` wins over ``target``, which wins over ``arch`` (a torchvision classification model).
    """

    name: str
    target: str | None = None
    arch: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[InputSpec, ...] | None = None
    data_loader: TargetSpec | None = None
    pickle_path: str | None = None
    """A cloudpickled module, or a callable that builds one."""
    batches_path: str | None = None
    """A ``torch.save`` file with a list of input tuples, used instead of random data."""
    batch_size: int = 1
    seed: int = 0


@dataclass(frozen=True)
class MeasureSpec:
    """How one conversion is measured, and what it may cost."""

    min_samples: int = 64
    min_time_s: float = 1.0
    rel_precision: float | None = 0.02
    """Half the width of the median's 95% interval, as a share of the median, at which measuring ends; None: any."""
    max_time_s: float = 6.0
    """Timed calls of one conversion end after this in any case."""
    replicates: int = 1
    """Fresh processes that each conversion is measured in."""
    interleave: int = 8
    """Workers that take their rounds in turns; 1: one conversion after the other."""
    streams: int = 1
    """Threads that call the model at the same time; more than 1 measures throughput under load."""
    warmup_calls: int = 10
    warmup_time_s: float = 0.5
    time_budget_s: float = 600.0
    memory_limit_mb: float | None = None
    fidelity_inputs: int = 4
    include_transfer: bool = False
    """Copy the inputs from the host inside the timed call."""
    pin_memory: bool = False
    non_blocking: bool = False
    compile_cache: str = "cold"
    """``cold``: every worker compiles from nothing; ``warm``: compilers may reuse what earlier jobs compiled."""
    exclusive: str = "wait"
    """While another job measures on this machine: ``wait``, ``refuse`` to run, or ``ignore`` it."""
    log_level: str = "WARNING"
    """Alma's logging level in the worker's log."""


@dataclass(frozen=True)
class WorkerTask:
    """Everything one worker process needs. ``conversion`` is None for the preparing worker."""

    model: ModelSpec
    hardware: HardwareSpec
    measure: MeasureSpec
    conversion: PlannedConversion | None
    work_dir: str
    """A directory of this worker's own; its working directory."""
    reference_path: str
    """The inputs and eager outputs that the preparing worker writes and the others compare with."""
    weights_digest: str | None = None
    replicate: int = 0
    cache_dir: str | None = None
    """Where compilers keep what they compiled; None: in ``work_dir``."""
    sys_path: tuple[str, ...] = ()


def family_of(model: str) -> str:
    """``resnet`` of ``resnet18``, ``mobilenet`` of ``mobilenet_v3_small``: the letters that the name begins with."""
    found = re.match(r"[^\W\d_]+", model)
    return found[0].lower() if found else model
