"""Makes plain data of a session and its figures: totals of each conversion, the best mix, and where the time goes."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from almaflow.profiles.latencies import Deployment, best_of_each, deployments, latencies, size_checks
from almaflow.profiles.totals import total
from almaflow.profiles.workload import eager_ms
from almaflow.records import Status, stamp
from almaflow.records.plan import EAGER

if TYPE_CHECKING:
    from almaflow.profiles.latencies import Latencies, Latency
    from almaflow.profiles.workload import FunctionCalls, Workload
    from almaflow.records.profile_results import ProfileResults

BEST = "best"
"""Name of the total that has each segment in its best conversion."""


def analysed(workload: Workload, results: ProfileResults) -> dict[str, Any]:
    """Return a session and its figures as plain data for JSON; what is not known is None.

    Each entry of ``functions`` has its ``totals``, the fastest first and those without a time at the end, its
    ``segments`` with a cell for each conversion, and its ``python`` by place; times are milliseconds.
    """
    known = {each: latencies(workload, results, each) for each in deployments(results)}
    pieces = workload.pieces.values()
    all_ms = sum(each.weight_ms for each in pieces)
    left = {each.segment_id for each in pieces if each.segment_id in results.counted_as_eager}
    first = next(iter(known.values()), None)
    covered = 0.0
    if first:  # what has a figure of its own, or one by interpolation
        covered = sum(
            each.weight_ms
            for each in pieces
            if each.segment_id in first.figures or (first.of.get(each.segment_id) or _NOTHING).interpolated
        )
    return {
        **stamp(),
        "profile_id": workload.profile_id,
        "processor": workload.processor,
        "covered_pct": 100 * covered / all_ms if all_ms else None,
        "functions": [_function(each, workload, results, known) for each in workload.functions],
        "counted_as_eager": {name: why for name, why in results.counted_as_eager.items() if name in left},
        "size_checks": [asdict(each) | {"error_pct": each.error_pct} for each in size_checks(workload, results, known)],
        "lost": list(workload.lost),
        "notes": list(workload.notes),
    }


class _Nothing:
    interpolated = False


_NOTHING = _Nothing()
