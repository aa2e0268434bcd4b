"""What a session recorded, as measuring and totals need it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from almaflow.errors import shortened
from almaflow.profiles.timeline import TypicalCall, typical_call
from almaflow.records.profile import Ambient
from almaflow.stats.intervals import Interval, median_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from almaflow.records.profile import Call, Profile, Segment

LONGEST = 50
"""Characters of the reason for which a graph ends."""


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


def workload_of(profile: Profile, calls: Iterable[Call]) -> Workload:
    """Return what a session recorded; calls that raised are left out, since nobody knows what they would have taken."""
    ended = [call for call in calls if not call.raised]
    segments = {each.segment_id: each for each in profile.segments}
    times: dict[str, list[float]] = defaultdict(list)
    runs = Counter(segment for call in ended for segment in call.sequence)
    for call in ended:
        for segment, ms in zip(call.sequence, call.graphs_ms, strict=True):
            times[segment].append(ms)
    return Workload(
        profile.profile_id,
        {name: _piece(each, runs[name], times[name], profile.inputs) for name, each in segments.items() if runs[name]},
        tuple(
            FunctionCalls(
                function.name,
                tuple(_cut(call) for call in ended if call.function == function.name),
                dict(function.discarded),
                _slots([call for call in ended if call.function == function.name and not call.discarded], segments),
                sum(variant.function == function.name for variant in profile.variants),
                typical_call([call for call in ended if call.function == function.name and not call.discarded]),
            )
            for function in profile.functions
        ),
        tuple(
            f"{_place(each.file, each.line)} {each.frame}, from call {each.first_call} on: {each.reason}; {each.advice}"
            for each in profile.lost
        ),
        profile.notes,
        profile.processor,
        profile.threads,
    )


def _piece(segment: Segment, calls: int, times: Sequence[float], kept: str) -> Piece:
    weights = f", {segment.weights_bytes / 1e6:.3g} MB of weights" if segment.weights_bytes else ""
    copies = f", x {segment.copies}" if segment.copies > 1 else ""
    return Piece(
        segment.segment_id,
        segment.family_id,
        calls,
        # Where every call was discarded, what its eager graphs took in these is the best that is known.
        segment.eager.median_ms if segment.eager else median(times),
        float(max(1, sum(math.prod(each.shape) for each in segment.inputs))),
        _place(segment.file, segment.line),
        f"{segment.operations} operation{'' if segment.operations == 1 else 's'}{weights}{copies}",
        segment.unmeasurable or _unusual(segment.ambient),
        segment.weights_digest,
        segment.ambient.autocast,
        segment.eager.ci_low_ms if segment.eager else None,
        segment.eager.ci_high_ms if segment.eager else None,
        any(each.mutated for each in segment.inputs) and not segment.written,
        kept,
    )


def _unusual(ambient: Ambient) -> str | None:
    """Return which setting of PyTorch keeps a segment from being measured: workers have the usual ones."""
    usual = Ambient(grad=ambient.grad, inference=ambient.inference, autocast=ambient.autocast)
    found = [name for name, value in vars(ambient).items() if value != getattr(usual, name)]
    return f"it ran under {found[0]}={getattr(ambient, found[0])}, which workers do not set" if found else None


def _cut(call: Call) -> CallCut:
    if call.discarded:
        return CallCut(call.sequence, None)
    return CallCut(call.sequence, sum(call.python_ms), sum(call.graphs_ms))


def _slots(calls: Sequence[Call], segments: dict[str, Segment]) -> tuple[PythonSlot, ...]:
    """Return Python's time by its place, which is after the graph that ends there."""
    times: dict[str, list[float]] = defaultdict(list)
    for call in calls:
        before = [None, *(segments.get(each) for each in call.sequence)]
        for segment, ms in zip(before, call.python_ms, strict=True):
            times[_slot(segment)].append(ms)
    slots = [
        PythonSlot(where, len(each) / len(calls), median(each), median_interval(each), sum(each) / len(calls))
        for where, each in times.items()
    ]
    return tuple(sorted(slots, key=lambda slot: -slot.per_call_ms))


def _slot(before: Segment | None) -> str:
    if before is None:
        return "before the first graph"
    place = _place(before.break_file or before.file, before.break_line or before.line)
    return (
        f"after {place} ({shortened(before.break_reason, LONGEST)})"
        if before.break_reason
        else f"after the graph of {place}"
    )


def _place(file: str, line: int) -> str:
    return f"{Path(file).name}:{line}"


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
