"""One call of a function from its beginning to its end, to look at: graphs and the Python between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from almaflow.profiles.totals import Latency
    from almaflow.records.profile import Call


@dataclass(frozen=True)
class TypicalCall:
    """A call as it was recorded."""

    number: int
    segments: tuple[str, ...]
    """IDs in the order in which they ran."""
    graphs_ms: tuple[float, ...]
    """Time of each graph, run eagerly."""
    python_ms: tuple[float, ...]
    """Before the first graph, between each two, after the last one."""


def typical_call(calls: Sequence[Call]) -> TypicalCall | None:
    """Return the call nearest to the median, of those that ran the most frequent sequence; None where none counts.

    Args:
        calls: Those of one function whose times count.
    """
    if not calls:
        return None
    ((sequence, _),) = Counter(call.sequence for call in calls).most_common(1)
    alike = [call for call in calls if call.sequence == sequence]
    middle = median(map(_whole_ms, alike))
    call = min(alike, key=lambda each: abs(_whole_ms(each) - middle))
    return TypicalCall(call.number, call.sequence, call.graphs_ms, call.python_ms)


def _whole_ms(call: Call) -> float:
    return sum(call.python_ms) + sum(call.graphs_ms)


def timeline_of(call: TypicalCall | None, best: Mapping[str, Latency]) -> dict[str, Any] | None:
    """Return the parts of a call in their order as plain data: as recorded, and with the best of each; milliseconds."""
    if call is None:
        return None
    parts: list[dict[str, Any]] = []
    for slot, ms in enumerate(call.python_ms):
        parts.append({"segment_id": None, "ms": ms, "best_ms": ms, "conversion": None})
        if slot < len(call.segments):
            name, found = call.segments[slot], best.get(call.segments[slot])
            graph_ms = call.graphs_ms[slot]
            parts.append(
                {
                    "segment_id": name,
                    "ms": graph_ms,
                    "best_ms": found.ms if found else graph_ms,
                    "conversion": found.conversion if found else None,
                }
            )
    return {"call": call.number, "parts": parts}
