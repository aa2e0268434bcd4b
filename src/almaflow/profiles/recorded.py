"""Makes a workload of the record of a session: its segments, its calls, and the Python between graphs by its place."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from almaflow.errors import shortened
from almaflow.profiles.timeline import typical_call
from almaflow.profiles.workload import CallCut, FunctionCalls, Piece, PythonSlot, Workload
from almaflow.records.profile import Ambient
from almaflow.stats.intervals import median_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from almaflow.records.profile import Call, Profile, Segment

LONGEST = 50
"""Characters of the reason for which a graph ends."""


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
