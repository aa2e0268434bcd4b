"""What a session recorded, as measuring and totals need it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from almaflow.profiles.timeline import TypicalCall
    from almaflow.stats.intervals import Interval


@dataclass(frozen=True)
class Piece:
    """A segment, which is one graph with one set of sizes, with its share of the session."""

    segment_id: str
    family: str
    """What segments have in common that differ in sizes only."""
    calls: int
    eager_ms: float
    """Median of its eager calls in the session."""
    size: float = 1.0
    """Elements of its inputs: what sizes of a family are ordered by."""
    location: str = ""
    what: str = ""
    """Operations and weights, for people."""
    unmeasurable: str | None = None
    """Why it cannot be measured apart."""
    weights_digest: str = ""
    """Of the weights that were kept."""
    autocast: dict[str, str] = field(default_factory=dict)
    """Type of autocast by the type of the device, where it was on."""
    eager_low_ms: float | None = None
    """Lower end of the median's 95% interval; None below six eager calls that count."""
    eager_high_ms: float | None = None
    writes: bool = False
    """Whether it writes to inputs that its code does not give, so that no check compares what it wrote."""
    inputs: str = "real"
    """What was kept of its inputs: ``real``, ``permuted`` elements, or ``zeros``."""

    @property
    def weight_ms(self) -> float:
        """Eager time of all its calls."""
        return self.calls * self.eager_ms


@dataclass(frozen=True)
class CallCut:
    """One call of the function, cut into graphs and the Python between them."""

    segments: tuple[str, ...]
    """IDs in the order in which they ran."""
    python_ms: float | None
    """Time outside of graphs; None where it does not count, as in a call in which graphs were compiled."""
    graphs_ms: float | None = None
    """Time of its eager graphs; None where it does not count."""


@dataclass(frozen=True)
class PythonSlot:
    """The Python between two graphs, at one place of the code."""

    where: str
    per_call: float
    """How often it runs in a call of the function."""
    ms: float
    """Median of one time."""
    interval: Interval | None
    per_call_ms: float
    """Mean of what it takes in a call of the function."""


@dataclass(frozen=True)
class FunctionCalls:
    """All calls of one function that came to their end."""

    function: str
    calls: tuple[CallCut, ...]
    discarded: dict[str, int] = field(default_factory=dict)
    """How many calls do not count for Python's time, by the reason."""
    python: tuple[PythonSlot, ...] = ()
    """The one that takes most first."""
    variants: int = 1
    """Number of different sequences of families."""
    typical: TypicalCall | None = None
    """A call to look at; None where no call counts."""

    @property
    def counts(self) -> Counter[str]:
        """How often each segment was called."""
        return Counter(segment for call in self.calls for segment in call.segments)


@dataclass(frozen=True)
class Workload:
    """A recorded session."""

    profile_id: str
    pieces: dict[str, Piece]
    """By the IDs of the segments."""
    functions: tuple[FunctionCalls, ...]
    lost: tuple[str, ...] = ()
    """What was not captured, each with its place and what to do."""
    notes: tuple[str, ...] = ()
    processor: str = ""
    """The machine that Python was timed on."""
    threads: int | None = None
    """Threads of PyTorch in the application; None where it is unknown."""


def eager_ms(function: FunctionCalls) -> float | None:
    """Return what a call of the function took with its graphs run eagerly; None where no call counts.

    It is the median over the calls: in a recording, a single call that something else held up may take ten times as
    long.
    """
    known = [
        call.python_ms + call.graphs_ms
        for call in function.calls
        if call.python_ms is not None and call.graphs_ms is not None
    ]
    return median(known) if known else None
