"""What the calls of a session come to: functions, variants, and the time of slots and segments."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from almaflow.records.profile import ProfiledFunction, Timing, Variant
from almaflow.stats import series_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from almaflow.records.profile import Call, Segment


def timing(times_ms: Sequence[float]) -> Timing | None:
    """Return the median of durations in milliseconds with its interval; None where there are none."""
    if not times_ms:
        return None
    interval = series_interval(times_ms)
    ends = (interval.low, interval.high) if interval else (None, None)
    return Timing(len(times_ms), statistics.median(times_ms), *ends)


def function_of(name: str, file: str, line: int, calls: Sequence[Call]) -> ProfiledFunction:
    """Return a function over all its calls, in the order in which they began."""
    timed = [call for call in calls if call.discarded is None]
    return ProfiledFunction(
        name=name,
        file=file,
        line=line,
        calls=len(calls),
        discarded=dict(Counter(call.discarded for call in calls if call.discarded)),
        uncaptured=tuple(call.number for call in calls if not call.sequence),
        whole=timing([sum(call.python_ms) + sum(call.graphs_ms) for call in timed]),
        python=timing([sum(call.python_ms) for call in timed]),
        graphs=timing([sum(call.graphs_ms) for call in timed]),
    )


def variants_of(calls: Iterable[Call], families: Mapping[str, str]) -> tuple[Variant, ...]:
    """Return the sequences of families, the most frequent ones of each function first.

    Args:
        calls: The calls in the order in which they began.
        families: The family of each segment.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[Call]] = defaultdict(list)
    totals: Counter[str] = Counter()
    for call in calls:
        if call.raised:
            continue
        totals[call.function] += 1
        groups[call.function, tuple(families[each] for each in call.sequence)].append(call)
    found = []
    for (function, sequence), members in groups.items():
        timed = [call.python_ms for call in members if call.discarded is None]
        slots = tuple(timing([each[slot] for each in timed]) for slot in range(len(sequence) + 1))
        numbers = tuple(call.number for call in members)
        found.append(Variant(function, sequence, numbers, len(members) / totals[function], slots))
    order = list(totals)
    return tuple(sorted(found, key=lambda each: (order.index(each.function), -each.share)))


def with_calls(segments: Iterable[Segment], calls: Iterable[Call]) -> tuple[Segment, ...]:
    """Return the segments with what the calls say of them, those that took the longest first."""
    runs: Counter[str] = Counter()
    times: dict[str, list[float]] = defaultdict(list)
    took: Counter[str] = Counter()
    for call in calls:
        runs.update(call.sequence)
        for segment_id, time_ms in zip(call.sequence, call.graphs_ms, strict=True):
            took[segment_id] += time_ms  # type: ignore[assignment]  # a counter of milliseconds
            if call.discarded is None:
                times[segment_id].append(time_ms)
    counted = [replace(each, calls=runs[each.segment_id], eager=timing(times[each.segment_id])) for each in segments]
    return tuple(sorted(counted, key=lambda each: -took[each.segment_id]))
