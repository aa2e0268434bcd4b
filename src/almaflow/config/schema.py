"""The fields of a job's configuration: names, types, defaults, ranges.

The same dataclasses are Hydra's structured configs (types, unknown keys) and, through pydantic, the check of ranges.
OmegaConf ignores what ``Annotated`` adds, wants an ``Enum`` for a closed set of words, and no tuples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from almaflow.records import Choosing, MeasureSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Dimension = Annotated[int, Field(ge=0)]


def by_metric(limits: Any) -> Any:
    """Return limits by the names of their metrics: ``{"latency": {"p99": 20}}`` as ``{"latency/p99": 20}``.

    A name with dots, which Hydra takes for a path of keys, is put together again: ``quality/f1.macro``.
    """
    if not isinstance(limits, dict):
        return limits
    return {_metric(path): value for path, value in _leaves(limits)}


def _leaves(limits: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in limits.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, str(name)))
        else:
            yield (*above, str(name)), value


def _metric(path: tuple[str, ...]) -> str:
    """Return the metric at a path of keys: its section, in some a predictor or a size, and its name."""
    section, *rest = path
    if section in {"prediction", "size"} and len(rest) > 1:
        rest = [".".join(rest[:-1]), rest[-1]]
    else:
        rest = [".".join(rest)] if rest else []
    return "/".join((section, *rest))


class Device(StrEnum):
    """The device that the model runs on; ``auto`` is CUDA where this machine has it."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class DType(StrEnum):
    """Element types of an input, as PyTorch calls them."""

    float16 = "float16"
    bfloat16 = "bfloat16"
    float32 = "float32"
    float64 = "float64"
    complex64 = "complex64"
    complex128 = "complex128"
    uint8 = "uint8"
    int8 = "int8"
    int16 = "int16"
    int32 = "int32"
    int64 = "int64"
    bool = "bool"


class CompileCache(StrEnum):
    """Whether compilers start from nothing, or from what earlier jobs compiled."""

    cold = "cold"
    warm = "warm"


class Exclusive(StrEnum):
    """The behaviour while another job measures on this machine."""

    wait = "wait"
    refuse = "refuse"
    ignore = "ignore"


class FleetEngine(StrEnum):
    """What carries jobs to machines: nothing, processes of this machine, or Ray."""

    none = "none"
    local = "local"
    ray = "ray"


class LogModels(StrEnum):
    """The converted models that are logged as MLflow models."""

    none = "none"
    best = "best"
    all = "all"


class LogLevel(StrEnum):
    """Least severe message that a worker's log keeps."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


class _Strict:
    """Hydra's ``+key=value`` adds any key to any config: pydantic is told to refuse what has no field."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}


@dataclass
class InputConfig(_Strict):
    """One input of the model."""

    shape: list[Count]
    """Sizes without the batch dimension, which comes first unless ``batch_dim`` says otherwise."""
    dtype: DType = DType.float32
    """Type of its elements."""
    low: int = 0
    """Smallest value of an integer input."""
    high: int | None = None
    """One more than the largest value of an integer input; 256 by default for uint8."""
    name: str | None = None
    """The parameter of the model's forward that the input is given to; by default inputs are given by position."""
    batch_dim: Dimension | None = "${...batch_dim}"  # type: ignore[assignment] # resolved before it is read
    """The place of the batch dimension; null: the input is the same for the whole batch, such as a mask."""


@dataclass
class DataLoaderConfig(_Strict):
    """A callable that returns an iterable of batches; none without a ``_target_``."""

    _target_: str | None = None
    """Import path of a callable that returns an iterable of batches, such as a DataLoader."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """The callable's keyword arguments."""


@dataclass
class ModelConfig(_Strict):
    """The model that is measured. A ``_target_`` wins over ``arch``."""

    name: str | None = None
    """The model's name in the results; by default the last part of ``_target_``, or ``arch``."""
    _target_: str | None = None
    """Import path of a module class or of a callable that returns a module."""
    arch: str | None = None
    """A classification model of torchvision, with random weights."""
    weights: str | None = None
    """File with the model's weights: a .safetensors file, or what ``torch.save(model.state_dict(), FILE)`` wrote."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of ``_target_`` or of the architecture."""
    batch_dim: Dimension | None = 0
    """The place of the batch dimension in inputs that do not say; null: they have none."""
    inputs: list[InputConfig] | None = None
    """The model's inputs. None: for ``arch``, one image of the size that its published weights expect."""
    data_loader: DataLoaderConfig = field(default_factory=DataLoaderConfig)
    calibration_loader: DataLoaderConfig = field(default_factory=DataLoaderConfig)
    calibration_samples: Count = 300
    """Most samples of the calibration loader that quantisers are calibrated on."""
    padding_mask: str | None = None
    """The input (N, L) whose elements are other than zero where there is padding, as ``src_key_padding_mask``."""
    attention_mask: str | None = None
    """The input (N, L) whose elements are zero where there is padding, as transformers have it."""
    dynamic: Any = None
    """Dimensions whose sizes may change: [batch], or with ranges {batch:[1,32],sequence:[8,512]}."""
    dynamic_axes: Any = None
    """Where dimensions other than the batch are, by input: {input_ids:{1:sequence}}."""
    sizes: Any = None
    """Further sizes to time each conversion at: [1,2,8] of the batch, or [{batch:8,sequence:64}]."""


@dataclass
class LevelConfig(_Strict):
    """The bandwidth of one level of memory, for a working set that fits into it."""

    name: str
    """Name of the level, such as L2."""
    gb_s: Positive
    """10^9 bytes per second."""
    mb: Positive | None = None
    """10^6 bytes; None: main memory."""


@dataclass
class LimitsConfig(_Strict):
    """The limits of a machine's speed."""

    gflops: dict[str, float] = field(default_factory=dict)
    """10^9 operations per second by element type, dense; a multiplication with its addition is two."""
    conv_gflops: dict[str, float] = field(default_factory=dict)
    """The rates of convolutions, where these have another limit."""
    achieved: dict[str, Any] = field(default_factory=dict)
    """Rates by element type and by what was computed, as ``almaflow calibrate`` writes them: for people."""
    bandwidth: list[LevelConfig] = field(default_factory=list)
    """The levels from the smallest one to main memory."""
    overhead_us: Positive | None = None
    """Microseconds that any operation takes, however little it does."""
    power_w: Positive | None = None
    """Watts that the device draws under load."""


@dataclass
class HardwareConfig(_Strict):
    """The machine that a job is meant for."""

    name: str | None = None
    """The machine's name in the results. None: the processor of this machine."""
    device: Device = Device.auto
    """Device that the model runs on; auto: CUDA where this machine has it."""
    threads: Count | None = None
    """Threads of a measurement. None: the physical cores under ``cpus``."""
    cpus: Any = None
    """The processors that workers are bound to: a list such as [0,2] or [0-3,6], or text in taskset's syntax. None:
    those that this process may use."""
    cpu_match: str | None = None
    """Regular expression that must be found in the CPU's name, whatever its case."""
    gpu_match: str | None = None
    """Regular expression that must be found in the first GPU's name, whatever its case."""
    description: str = ""
    """The machine in words."""
    price_per_hour: Positive | None = None
    """USD for an hour of the machine."""
    price_source: str = ""
    """The source and the day of the price."""
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    """The machine's limits, for predictors."""
    learnt: dict[str, Any] = field(default_factory=dict)
    """The costs that ``almaflow calibrate`` learnt there, by their source: ``kernels`` or ``history``."""


@dataclass
class TierConfig(_Strict):
    """The tier, which sets how many conversions are tried."""

    number: Annotated[int, Field(ge=1, le=3)] = 1
    """1 quick, 2 core, 3 everything that can run here."""
    description: str = ""
    """The tier in words."""


@dataclass
class MeasureConfig(_Strict):
    """Settings of a measurement and its budgets. The defaults are those of ``records.MeasureSpec``."""

    min_samples: Count = MeasureSpec.min_samples
    """Fewest timed calls of a conversion; 64 support a 90th percentile."""
    min_time_s: NotNegative = MeasureSpec.min_time_s
    """Shortest time of timed calls, in seconds."""
    rel_precision: Share | None = MeasureSpec.rel_precision
    """Half the width of the median's 95% interval, as a share of the median, at which measuring ends; null: any."""
    max_time_s: Positive = MeasureSpec.max_time_s
    """Longest time of timed calls, in seconds, where the figure does not settle before."""
    replicates: Count = MeasureSpec.replicates
    """Fresh processes that each conversion is measured in."""
    interleave: Count = MeasureSpec.interleave
    """Workers that take their rounds in turns; 1: one conversion after the other."""
    prepare_jobs: Count | None = None
    """Conversions that are prepared at once. None: the physical cores that workers may use."""
    streams: Count = MeasureSpec.streams
    """Threads that call the model at the same time; more than 1 measures throughput under load."""
    warmup_calls: Annotated[int, Field(ge=0)] = MeasureSpec.warmup_calls
    """Fewest calls before timing; more follow until they stop getting quicker."""
    warmup_time_s: NotNegative = MeasureSpec.warmup_time_s
    """Shortest time of these calls, in seconds."""
    time_budget_s: Positive = MeasureSpec.time_budget_s
    """Seconds of one conversion's process, loading and compiling included, waiting for turns excluded."""
    memory_limit_mb: Positive | None = MeasureSpec.memory_limit_mb
    """Memory of one conversion's process in 10^6 bytes; null: 90% of what was free when it started."""
    fidelity_inputs: Count = MeasureSpec.fidelity_inputs
    """Batches on which outputs are compared with eager's."""
    include_transfer: bool = MeasureSpec.include_transfer
    """Copy the inputs from the host inside the timed call."""
    pin_memory: bool = MeasureSpec.pin_memory
    """Keep the host's inputs in pinned memory."""
    non_blocking: bool = MeasureSpec.non_blocking
    """Copy inputs without waiting for the copy."""
    keep_memory: bool = True
    """Let a worker's allocator keep freed memory, as that of a long-running process does; false: as a new one."""
    compile_cache: CompileCache = CompileCache[MeasureSpec.compile_cache]
    """cold: compilers start from nothing; warm: from what earlier jobs compiled."""
    exclusive: Exclusive = Exclusive[MeasureSpec.exclusive]
    """While another job measures on this machine: wait for it, refuse to run, or ignore it."""
    log_level: LogLevel = LogLevel[MeasureSpec.log_level]
    """Lowest level in a worker's log; DEBUG: also the graphs, graph breaks and recompilations of torch.compile."""


@dataclass
class ChooseConfig(_Strict):
    """Limits under which the best conversion is chosen."""

    max: Annotated[dict[str, Any], BeforeValidator(by_metric)] = field(default_factory=dict)
    """The most that a metric of `almaflow run` may be, such as choose.max.latency/p99=20, in the metric's own unit."""
    min: Annotated[dict[str, Any], BeforeValidator(by_metric)] = field(default_factory=dict)
    """The least that a metric may be, such as choose.min.fidelity/sqnr_db=40."""
    by: str = Choosing.by
    """The metric by which the best of those that keep to the limits is chosen."""


@dataclass
class TrackingConfig(_Strict):
    """The store that the runs go to."""

    name: str = "local"
    """Name of the choice."""
    uri: str | None = None
    """An MLflow tracking URI. None: ``MLFLOW_TRACKING_URI`` where it is set, else the store under almaflow's home."""


@dataclass
class EvaluateConfig(_Strict):
    """An evaluation on the labelled samples of the model's data loader; none without a ``_target_``."""

    _target_: str | None = None
    """Import path of a function (outputs, labels) or (predict, loader) that returns figures of quality by name."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """The function's further keyword arguments."""
    samples: Positive | None = None
    """How many samples, or which share of all if below 1; null: all that the loader gives."""
    max_drop: NotNegative | None = None
    """Largest loss against eager, in the figure's own unit, with which a conversion is recommended; null: any."""
    lower_is_better: list[str] = field(default_factory=list)
    """Figures of which less is better although their names do not say so, as `val_loss` does."""


@dataclass
class FleetConfig(_Strict):
    """The machines that measure."""

    engine: FleetEngine = FleetEngine.none
    """none: this machine, in this process; local: this machine, as one of a fleet; ray: the machines of a Ray cluster."""
    address: str | None = None
    """HOST:PORT of the head, as `almaflow fleet head` prints it."""
    quota: Count | None = None
    """Machines that your orders hold at once; null: any number."""
    user: str | None = None
    """Your name in the queue; null: that of your account."""
    machine: str | None = None
    """ID of the only machine that may measure; null: any that matches ``hardware``."""
    environment: str | None = None
    """Name of a machine's environment, or what it must have, such as torch>=2.14; null: the machine's first."""
    time_limit_s: Positive | None = None
    """Seconds after which a machine ends a job, which is then an interrupted one; null: no limit."""


@dataclass
class JobConfig(_Strict):
    """One job: a model on a machine through the conversions of a tier."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """The model that is measured."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """The machine that the job is meant for."""
    tier: TierConfig = field(default_factory=TierConfig)
    """A ready-made list of conversions: 1 quick, 2 core, 3 everything."""
    predictor: dict[str, Any] = field(default_factory=dict)
    """Predictors by name: callables by ``_target_``, with their arguments."""
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    """How long and how precisely each conversion is measured."""
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    """What the model is worth on labelled data, beside each conversion's latency."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """The store that the runs go to."""
    fleet: FleetConfig = field(default_factory=FleetConfig)
    """The machines that measure: this one, or those of a fleet."""
    batch_size: Count = 1
    """Samples in a batch."""
    conversions: list[Any] | None = None
    """Names, aliases or numbers of `almaflow conversions`, in the order to run them; overrides the tier."""
    predicted_latency_ms: Positive | None = None
    """Your prediction: milliseconds of one forward call on one batch."""
    predicted_energy_j: Positive | None = None
    """Your prediction: joules of one forward call on one batch."""
    predicted_for: str | None = None
    """The only conversion that your prediction is meant for, such as COMPILE_INDUCTOR_DEFAULT; null: all."""
    experiment_name: str = "almaflow"
    """MLflow experiment, created where it is new."""
    output: str | None = None
    """File that the job's summary is written to as JSON."""
    strict: bool = False
    """Exit code 1 where a conversion failed, or one that was asked for cannot run here."""
    fail_fast: bool = False
    """Stop at the first conversion that fails."""
    resume: Any = False
    """true: measure what the store does not have; failed: measure again what failed, and nothing else."""
    keep: Any = None
    """Converted models that stay on disk for `almaflow export`: best (the chosen or fastest), all, none, or names;
    null: best, and what an earlier attempt has kept."""
    keep_limit_mb: Positive | None = 2000.0
    """Size in MB (10^6 bytes) of a converted model above which it is not kept; null: any size."""
    log_models: LogModels = LogModels.none
    """Converted models that become MLflow models, linked to their runs: best (the fastest), all that are kept, none."""
    allow_device_override: bool = True
    """A conversion may run on another device than the hardware's where it knows no other."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of random weights and inputs."""
    choose: ChooseConfig = field(default_factory=ChooseConfig)
    """Limits under which the best conversion is chosen."""
