"""What a worker found out."""

from __future__ import annotations

from dataclasses import dataclass

from almaflow.records.status import FailureKind
from almaflow.records.workload import Workload


@dataclass(frozen=True)
class TensorSpec:
    """A tensor as the model really got or gave it, batch dimension included."""

    shape: tuple[int, ...]
    dtype: str
    name: str | None = None


@dataclass(frozen=True)
class ReferenceInfo:
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
    workload: Workload | None = None
    """The operations of the eager model; None where they could not be counted."""


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
class MachineState:
    """The machine while one round was timed, as the parent sees it; ``None`` where the system does not tell."""

    others_cpus: float | None = None
    """Processors that other programs kept busy, on average: 0.5 is half of one."""
    steal_cpus: float | None = None
    """Processors' worth of time that the hypervisor gave to other virtual machines."""
    frequency_mhz: float | None = None
    """Mean clock of the processors."""
    temperature_c: float | None = None
    """The hottest sensor of the CPU, or of the GPU for a conversion that runs there."""
    gpu_clock_mhz: float | None = None
    gpu_throttle: tuple[str, ...] = ()
    """Why the GPU's clock was held down: the driver's reasons that matter to a measurement."""
    gpu_other_processes: int | None = None
    """Processes on the GPU that are not of this job."""
    energy_j: float | None = None
    """What the package (RAPL) or the GPU (NVML) took meanwhile, idle share included."""
    watched_s: float | None = None
    """How long all of this was looked at: the timed calls and the untimed ones around them."""


@dataclass(frozen=True)
class Round:
    """A stretch of timed calls of one worker; between two of its rounds the other conversions have theirs.

    Rounds of different conversions with the same replicate and index were taken next to each other.
    """

    replicate: int
    index: int
    """0 for the round that a worker takes by itself as soon as it is warm; from 1 on they are interleaved."""
    count: int
    """How many of the measurement's samples are its, in their order."""
    started_at: float
    """Seconds since the epoch."""
    wall_s: float
    """From the start of the first timed call to the end of the last one."""
    cpu_s: float
    """Processor time of the worker meanwhile: divided by ``wall_s``, the processors that it kept busy."""
    control_ms: float
    """The control workload just before (``measure.control``): how fast the machine was."""
    state: MachineState | None = None


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
    """The counts, the times and the precision that were asked for are reached; set by the parent at the end."""
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
    rounds: tuple[Round, ...] = ()
    """What the samples are made of; empty where they were not taken in rounds."""
    device_samples_ms: tuple[float, ...] = ()
    """The same calls by CUDA events, which leave out the launch; empty on a CPU."""
    model_mb: float | None = None
    """Size of the converted model: its file where it has one, else its parameters and buffers."""


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

    prepared: ReferenceInfo | None = None
    measurement: Measurement | None = None
    failure: Failure | None = None
    bad_input: str | None = None
    """The model or its inputs are wrong: one line for the user."""
    finished: bool = False
    """The worker got to its end; without this it died on the way."""
