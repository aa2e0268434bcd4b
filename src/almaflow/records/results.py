"""Results of a worker."""

from __future__ import annotations

from dataclasses import dataclass, field

from almaflow.records.quality import QualityDrop
from almaflow.records.sizes import BatchSearchResult, SizeMeasurement
from almaflow.records.status import FailureKind
from almaflow.records.workload import Workload


@dataclass(frozen=True)
class TensorSpec:
    """An input or output tensor as the model really had it, batch dimension included."""

    shape: tuple[int, ...]
    dtype: str
    name: str | None = None
    dynamic: tuple[str | None, ...] = ()
    """Of each dimension the name under which its size may change, None where it is fixed; empty: all are fixed."""


@dataclass(frozen=True)
class ModelTraits:
    """What eager calls on copies of the inputs showed of a model; it decides how each conversion is checked and timed.

    Inputs are named as the model's forward names them, else by their position.
    """

    dtype: str = "float32"
    """The coarsest floating type among the model's parameters, buffers, inputs and outputs."""
    writes_inputs: tuple[str, ...] = ()
    """The inputs that a call changes in place."""
    keeps_state: tuple[str, ...] = ()
    """Buffers and attributes that a call changes, where that changes the next answer."""
    caches: tuple[str, ...] = ()
    """Attributes that the first call makes, such as tables, without changing an answer."""
    random: bool = False
    """Whether the same call answers differently unless the generators are set alike."""
    returns_own_memory: bool = False
    """Whether an output shares memory with an input, a weight or the output of the next call."""
    in_training: tuple[str, ...] = ()
    """Modules that are in training mode although the model was put into evaluation mode."""
    decides_by_values: tuple[str, ...] = ()
    """Places in the code, as ``file.py:12``, where Python takes a decision by values that come from the inputs."""
    sizes_by_values: tuple[str, ...] = ()
    """Places where a tensor's size depends on such values."""
    output_kinds: tuple[str, ...] = ()
    """Of each output: ``signal``, ``classes``, ``mask``, ``boxes``, ``number`` or ``complex``."""


@dataclass(frozen=True)
class ReferenceInfo:
    """Properties of the model that the reference worker found out."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int
    weights_digest: str
    device_name: str
    threads: dict[str, int]
    """Thread counts as each library reports them in the worker."""
    eager_s: float
    """Time of one eager forward call: enough for an estimate, not a measurement."""
    notes: tuple[str, ...] = ()
    workload: Workload | None = None
    """The operations of the eager model; None where they could not be counted."""
    traits: ModelTraits = field(default_factory=ModelTraits)
    digests: dict[str, str] = field(default_factory=dict)
    """Digests of what makes it this model: ``code``, ``weights``, ``attributes``, ``operations``, ``inputs``,
    ``files``; those that do not count, or were not taken by an older almaflow, are absent."""
    sources: dict[str, str] = field(default_factory=dict)
    """Digests of the user's own modules by their names."""
    quality: dict[str, float] = field(default_factory=dict)
    """Figures of eager on labelled samples, by name."""
    quality_samples: int | None = None
    quality_digest: str | None = None
    """Equal where figures are of the same samples and labels."""


@dataclass(frozen=True)
class Fidelity:
    """The comparison of a conversion's output with eager's on the same inputs."""

    max_abs_diff: float
    cosine: float
    sqnr_db: float
    top1_agreement: float | None
    """Share of rows with the same largest logit, 0 to 1; None where the output has no classes."""
    rows: int
    tolerance_db: float
    ok: bool
    reason: str | None = None
    worst_part: str | None = None
    """The part of the outputs that is furthest from eager's: ``output 1, channel 5 of 6``."""
    worst_part_db: float | None = None
    equal_share: float | None = None
    """Least share of equal elements among integer and boolean outputs, 0 to 1; None where there are none."""
    notes: tuple[str, ...] = ()
    """What is worth telling of a comparison that the verdict does not say."""


@dataclass(frozen=True)
class MachineState:
    """The machine while one round was timed, as the parent saw it; ``None`` where the system does not tell."""

    others_cpus: float | None = None
    """Mean number of processors that other programs kept busy: 0.5 is half of one."""
    steal_cpus: float | None = None
    """Processors' worth of time that the hypervisor gave to other virtual machines."""
    frequency_mhz: float | None = None
    """Mean clock of the processors."""
    temperature_c: float | None = None
    """The hottest sensor of the CPU, or of the GPU for a conversion that runs there."""
    gpu_clock_mhz: float | None = None
    gpu_throttle: tuple[str, ...] = ()
    """Reasons of the driver for holding the GPU's clock down, those that matter to a measurement."""
    gpu_other_processes: int | None = None
    """Processes on the GPU that are not of this job."""
    energy_j: float | None = None
    """Energy that the package (RAPL) or the GPU (NVML) took meanwhile, idle share included."""
    watched_s: float | None = None
    """Seconds that this state covers: the timed calls and the untimed ones around them."""
    stops_s: tuple[float, ...] = ()
    """Seconds of each stop meanwhile, in which the worker stood still for a reason outside of it."""


@dataclass(frozen=True)
class Round:
    """A stretch of timed calls of one worker. Between two of its rounds the other conversions have theirs.

    Rounds of different conversions with the same replicate and index were taken next to each other.
    """

    replicate: int
    index: int
    """Number of the round. A worker takes round 0 as soon as it is warm; from 1 on they are interleaved."""
    count: int
    """Number of the measurement's samples that belong to this round, in their order."""
    started_at: float
    """Seconds since the epoch."""
    wall_s: float
    """Time from the start of the first timed call to the end of the last one."""
    cpu_s: float
    """Processor time of the worker meanwhile: divided by ``wall_s``, the processors that it kept busy."""
    control_ms: float
    """Time of the control workload just before (``worker.control_workload``), for how fast the machine was."""
    state: MachineState | None = None


@dataclass(frozen=True)
class Measurement:
    """The measurement of one conversion. Raw samples are kept; statistics are computed on demand."""

    samples_ms: tuple[float, ...]
    batch_size: int
    load_s: float
    """Time of interpreter start, imports, building the model and moving it to the device."""
    convert_s: float
    first_call_s: float
    total_s: float
    warmup_calls: int
    stable: bool
    """Whether the required counts, times and precision were reached; set by the parent at the end."""
    device_actual: str
    runtime: dict[str, str]
    """Provider, precision, partitions and threads that really ran it, as the runtime reports them."""
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
    """Rounds that the samples belong to; empty where they were not taken in rounds."""
    device_samples_ms: tuple[float, ...] = ()
    """Times of calls by CUDA events, which leave out the launch; empty on a CPU."""
    model_mb: float | None = None
    """Size of the converted model: its file where it has one, else its parameters and buffers."""
    narrow_weights_share: float | None = None
    """Share of the weights' elements that are stored narrower than float32, 0 to 1; None where it is unknown."""
    narrow_work_share: float | None = None
    """Share of the FLOPs of products that read narrow weights, 0 to 1, whatever they compute in; None if unknown."""
    outside_share: float | None = None
    """Share of the FLOPs that ran outside of what was compiled, 0 to 1; None where it is unknown."""
    convert_cpu_s: float | None = None
    """Processor time of the worker and of all that it started, where ``convert_s`` is wall time."""
    first_call_cpu_s: float | None = None
    prepared_beside: float | None = None
    """Number of conversions that were prepared at the same time, as a mean over the time until this one was; set by the
    parent. Where it is not 0, the wall times until then depend on the others."""
    calibration_samples: int | None = None
    """Samples that a quantiser was calibrated on; None where nothing was calibrated."""
    quality: dict[str, float] = field(default_factory=dict)
    """Figures on labelled samples by name, each the mean over the samples where they have scores of their own."""
    quality_drops: dict[str, QualityDrop] = field(default_factory=dict)
    """Of each figure, what it lost against eager's."""
    quality_samples: int | None = None
    quality_digest: str | None = None
    """Equal where figures are of the same samples and labels."""
    quality_error: str | None = None
    """Why there are no figures although they were asked for."""
    evaluate_s: float | None = None
    export_mb: float | None = None
    """Size of the files to which the converted model was written; None where it was not."""
    not_kept: str | None = None
    """Why the converted model could not be written, where it was to be."""
    sizes: tuple[SizeMeasurement, ...] = ()
    """What was measured at further sizes, where the model has dynamic dimensions."""
    search: BatchSearchResult | None = None
    """What the search for a batch size found, where it was asked for."""


@dataclass(frozen=True)
class Failure:
    """A conversion's failure: its class, the line that matters, and where to read more."""

    kind: FailureKind
    message: str
    phase: str = ""
    traceback: str | None = None


@dataclass(frozen=True)
class WorkerResult:
    """A worker's results on disk, replaced as it gets further, so that a crash keeps the last ones."""

    prepared: ReferenceInfo | None = None
    measurement: Measurement | None = None
    failure: Failure | None = None
    bad_input: str | None = None
    """Line for the user where the model or its inputs are wrong."""
    finished: bool = False
    """Whether the worker got to its end; if not, it died on the way."""
