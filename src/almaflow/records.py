"""What passes between the rooms: small frozen dataclasses that round-trip through JSON.

Units are in the names. A field that is not known is ``None``, never zero.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import cattrs

T = TypeVar("T")


class Status(StrEnum):
    """How a planned conversion ended."""

    OK = "ok"
    FAILED = "failed"
    UNAVAILABLE = "unavailable"


class FailureKind(StrEnum):
    """Why a conversion has no latency that may win."""

    MISSING_DEPENDENCY = "missing_dependency"
    UNSUPPORTED = "unsupported"
    ERROR = "error"
    CRASHED = "crashed"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    WRONG_OUTPUT = "wrong_output"
    FELL_BACK = "fell_back"


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
class HardwareSpec:
    """The device to measure on, as it is on this machine."""

    name: str
    device: str
    """``cpu`` or ``cuda``."""
    threads: int
    description: str = ""


@dataclass(frozen=True)
class MeasureSpec:
    """How one conversion is measured, and what it may cost."""

    min_samples: int = 64
    min_time_s: float = 1.0
    max_time_s: float = 30.0
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
class PlannedConversion:
    """A conversion of the catalogue, resolved for one machine and one device."""

    name: str
    requested: str
    """The name, alias or number that the user gave."""
    family: str
    steps: tuple[str, ...]
    engine: str
    """``alma`` or ``native``."""
    device: str
    """Where it will run, which an override may have moved from the hardware's device."""
    dtype: str
    """Arithmetic type of the converted model: float32, float16, bfloat16, int8, int4, float8 ..."""
    input_dtype: str = "float32"
    """What floating inputs are cast to before the timed call."""
    device_override: bool = False
    unavailable: str | None = None
    """Why it cannot run here."""
    unavailable_kind: FailureKind | None = None
    install: str | None = None


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
    sys_path: tuple[str, ...] = ()


@dataclass(frozen=True)
class TensorSpec:
    """A tensor as the model really got or gave it, batch dimension included."""

    shape: tuple[int, ...]
    dtype: str
    name: str | None = None


@dataclass(frozen=True)
class Prepared:
    """What the preparing worker found out about the model."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int
    weights_digest: str
    device_name: str
    threads: dict[str, int]
    """Thread counts as each library reports them in the worker."""
    eager_s: float
    """One eager forward call, in seconds: enough for an estimate, not a measurement."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fidelity:
    """A conversion's output beside eager's on the same inputs."""

    max_abs_diff: float
    cosine: float
    sqnr_db: float
    top1_agreement: float | None
    """Share of rows with the same largest logit, 0 to 1; None where the output has no classes."""
    rows: int
    tolerance_db: float
    ok: bool
    reason: str | None = None


@dataclass(frozen=True)
class Measurement:
    """What a worker measured. Raw samples are kept; statistics are computed on demand."""

    samples_ms: tuple[float, ...]
    batch_size: int
    load_s: float
    """Interpreter start, imports, building the model, moving it to the device."""
    convert_s: float
    first_call_s: float
    total_s: float
    warmup_calls: int
    stable: bool
    device_actual: str
    runtime: dict[str, str]
    """What really ran it: provider, precision, partitions, threads as the runtime reports them."""
    threads: dict[str, int]
    repairs: tuple[str, ...] = ()
    """The repairs of Alma that were applied."""
    peak_memory_mb: float | None = None
    baseline_memory_mb: float | None = None
    """Resident memory of the worker with the model loaded, before the conversion."""
    device_memory_mb: float | None = None
    recompiles: int | None = None
    """Graphs that dynamo compiled anew during the timed calls; None where nothing is compiled."""
    fidelity: Fidelity | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why a conversion failed: its class, the line that matters, and where to read more."""

    kind: FailureKind
    message: str
    phase: str = ""
    traceback: str | None = None


@dataclass(frozen=True)
class WorkerResult:
    """What a worker leaves on disk, replaced as it gets further; a crash keeps the last one."""

    prepared: Prepared | None = None
    measurement: Measurement | None = None
    failure: Failure | None = None
    bad_input: str | None = None
    """The model or its inputs are wrong: one line for the user."""


@dataclass(frozen=True)
class Prediction:
    """A predicted latency of one forward call on one batch."""

    latency_ms: float
    predictor: str
    version: str
    energy_j: float | None = None
    """Joules per batch."""


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
    log_path: str | None = None
    """The worker's stdout and stderr."""
    run_id: str | None = None
    """The MLflow run, once tracked."""
    interrupted: bool = False
    """Ended by the user or a signal: tracked as KILLED."""


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
    prepared: Prepared | None = None
    outcomes: tuple[Outcome, ...] = ()
    ended_at: float | None = None
    run_id: str | None = None
    interrupted: bool = False


@cache
def _converter() -> cattrs.Converter:
    return cattrs.Converter(forbid_extra_keys=True)


def to_dict(record: Any) -> Any:
    """Plain lists, dicts, strings and numbers of a record."""
    return _converter().unstructure(record)


def from_dict(kind: type[T], data: Any) -> T:
    """The record of the given kind that ``to_dict`` took apart."""
    return _converter().structure(data, kind)


def write_json(path: Path | str, record: Any) -> None:
    """Write beside the place and move into it, so that a reader never sees half a file.

    Raises:
        ValueError: a figure is NaN or infinite, which JSON does not know.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    text = json.dumps(to_dict(record), indent=1, allow_nan=False, sort_keys=False)
    with part.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def read_json(path: Path | str, kind: type[T]) -> T:
    """The record that ``write_json`` wrote."""
    return from_dict(kind, json.loads(Path(path).read_text(encoding="utf-8")))
