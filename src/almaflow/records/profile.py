"""A profiling session: calls of decorated functions, each cut into graphs and the Python between them."""

from __future__ import annotations

from dataclasses import dataclass, field

LOCAL = "local"
"""Name of the machine that records a session, among the machines of its backends."""


@dataclass(frozen=True)
class Backend:
    """A conversion on a machine, to measure segments with."""

    machine: str
    """``local``, or the name of a config of ``conf/hardware``, which a machine of a fleet has to match."""
    conversion: str
    """Name in the catalogue."""
    requested: str
    """What the user wrote."""

    @property
    def name(self) -> str:
        """``MACHINE/CONVERSION``."""
        return f"{self.machine}/{self.conversion}"


@dataclass(frozen=True)
class Timing:
    """The median of durations in milliseconds, with the 95% interval of the sign test."""

    count: int
    median_ms: float
    ci_low_ms: float | None = None
    """None below six durations."""
    ci_high_ms: float | None = None


@dataclass(frozen=True)
class SegmentTensor:
    """A tensor that a segment takes or gives."""

    shape: tuple[int, ...]
    dtype: str
    stride: tuple[int, ...]
    device: str = "cpu"
    storage_offset: int = 0
    """Of an input, in elements from the first one that any input with the same memory reads."""
    shares: int | None = None
    """Index of the first input whose memory it shares; None: it has memory of its own."""
    mutated: bool = False
    """Whether the segment writes to this input."""


@dataclass(frozen=True)
class Ambient:
    """Settings of PyTorch under which a segment ran."""

    grad: bool = False
    inference: bool = False
    autocast: dict[str, str] = field(default_factory=dict)
    """Type of autocast by device type, where it was on."""
    default_dtype: str = "float32"
    matmul_precision: str = "highest"
    deterministic: bool = False


@dataclass(frozen=True)
class Segment:
    """One graph at one size: what is measured as a model.

    Graphs of equal code, sizes, constants and settings are one segment, whatever the values of their weights.
    """

    segment_id: str
    """Digest of code, sizes, settings and shapes of weights; the name of its directory."""
    family_id: str
    """The same for other sizes of the graph."""
    function: str
    """The decorated function that ran it first."""
    file: str
    """Where the frame of the graph begins."""
    line: int
    frame: str
    """Name of the function that the graph was taken from."""
    operations: int
    break_reason: str | None = None
    """Why the graph ends where it does; None: the frame returned."""
    break_file: str | None = None
    break_line: int | None = None
    inputs: tuple[SegmentTensor, ...] = ()
    outputs: tuple[SegmentTensor, ...] = ()
    ambient: Ambient = field(default_factory=Ambient)
    weights_digest: str = ""
    """Of the weights that were kept, which are those of the graph that ran first."""
    weights_bytes: int = 0
    random: bool = False
    """Whether it draws at random: two runs of it need not agree."""
    stateful: bool = False
    """Whether it writes to its own weights or buffers."""
    written: tuple[int, ...] = ()
    """Inputs that it writes to and that its code gives after the outputs, so that what was written is compared; empty
    for profiles of older versions."""
    batches: int = 0
    """Calls whose inputs were kept, each different from the others."""
    unmeasurable: str | None = None
    """Why it cannot be measured apart; it then counts as local and eager."""
    copies: int = 1
    """Sets of weights that ran it: layers that are alike."""
    calls: int = 0
    """How often it ran, in all recorded calls."""
    eager: Timing | None = None
    """Of its runs here, those in discarded calls left out."""


@dataclass(frozen=True)
class Call:
    """One call of a decorated function."""

    number: int
    """From 0 on, in the order in which they began."""
    function: str
    thread: str
    sequence: tuple[str, ...]
    """IDs of the segments that ran, in order."""
    python_ms: tuple[float, ...]
    """Time outside of graphs: before the first one, between each two, after the last one."""
    graphs_ms: tuple[float, ...]
    """Time of each graph, run eagerly."""
    compile_ms: float = 0.0
    """Time that PyTorch took to find graphs, which ``python_ms`` leaves out."""
    compiled: bool = False
    """Whether a graph was found in it, or the search took more than a hundredth of the call."""
    raised: str | None = None
    """Type of the exception that ended it."""
    concurrent: bool = False
    """Whether another recorded call ran at the same time."""

    @property
    def discarded(self) -> str | None:
        """Why its times do not count; None where they do. What ran in it counts unless it raised."""
        if self.raised:
            return "raised"
        if self.compiled:
            return "compiled"
        return "concurrent" if self.concurrent else None


@dataclass(frozen=True)
class Variant:
    """The calls of a function that ran the same families in the same order."""

    function: str
    sequence: tuple[str, ...]
    """IDs of families."""
    calls: tuple[int, ...]
    """Numbers of its calls, without those that raised."""
    share: float
    """Of the function's calls that did not raise, 0 to 1."""
    python: tuple[Timing | None, ...] = ()
    """Of each slot of ``Call.python_ms``; None where every call was discarded."""


@dataclass(frozen=True)
class LostCapture:
    """Code that PyTorch gave up on, which ran as Python from then on."""

    kind: str
    """``loop``, ``limit`` or ``unsupported``."""
    function: str
    """The decorated function in whose call it was noticed."""
    frame: str
    """Name of the function that was given up."""
    file: str
    line: int
    reason: str
    advice: str
    first_call: int
    """Number of the call in which it was noticed."""
    break_file: str | None = None
    break_line: int | None = None


@dataclass(frozen=True)
class ProfiledFunction:
    """A decorated function over all its calls."""

    name: str
    file: str
    line: int
    calls: int
    discarded: dict[str, int] = field(default_factory=dict)
    """Number of calls by ``Call.discarded``."""
    uncaptured: tuple[int, ...] = ()
    """Numbers of the calls in which no graph ran; every other call ran at least one."""
    whole: Timing | None = None
    """Of a call, without the time that recording took; discarded calls are left out here and below."""
    python: Timing | None = None
    """Of all Python in a call."""
    graphs: Timing | None = None
    """Of all graphs in a call, run eagerly."""


@dataclass(frozen=True)
class Profile:
    """What one session recorded."""

    profile_id: str
    started_at: float
    """Seconds since the epoch."""
    ended_at: float | None = None
    backends: tuple[Backend, ...] = ()
    functions: tuple[ProfiledFunction, ...] = ()
    segments: tuple[Segment, ...] = ()
    variants: tuple[Variant, ...] = ()
    lost: tuple[LostCapture, ...] = ()
    notes: tuple[str, ...] = ()
    """Lines for people: what names became, what could not be kept."""
    inputs: str = "real"
    """What was kept of inputs: ``real``, ``permuted`` elements, or ``zeros``."""
    error: str | None = None
    """The application's exception that ended the session."""
    processor: str = ""
    """The machine that Python was timed on."""
    threads: int | None = None
    """Threads of PyTorch when the session ended; None where it is unknown."""
    versions: dict[str, str] = field(default_factory=dict)
