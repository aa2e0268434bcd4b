"""Makes plain data of a session and its figures: totals of each conversion, the best mix, and where the time goes."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from almaflow.profiles.cells import segment_entries
from almaflow.profiles.latencies import NOT_MEASURED, best_of_each, deployments, latencies, size_checks
from almaflow.profiles.timeline import timeline_of
from almaflow.profiles.totals import graphs_ms, median_total_ms, total
from almaflow.profiles.workload import eager_ms
from almaflow.records import stamp
from almaflow.records.plan import EAGER
from almaflow.records.profile import LOCAL
from almaflow.records.profile_results import BEST

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from almaflow.profiles.latencies import Deployment, Latencies
    from almaflow.profiles.totals import Latency
    from almaflow.profiles.workload import FunctionCalls, Piece, Workload
    from almaflow.records.profile_results import ProfileResults, SegmentFigure


def analysed(workload: Workload, results: ProfileResults) -> dict[str, Any]:
    """Return a session and its figures as plain data for JSON; what is not known is None, and times are milliseconds.

    Each entry of ``functions`` has its ``totals``, the fastest first and those without a time at the end, its
    ``segments`` with a cell for each conversion, those that take most first, and its ``python`` by place.
    """
    results, others = results.comparable()
    known = {each: latencies(workload, results, each) for each in deployments(results)}
    return {
        **stamp(),
        "profile_id": workload.profile_id,
        "processor": workload.processor,
        "covered_pct": _covered_pct(workload, known),
        "functions": [_function(each, workload, results, known) for each in workload.functions],
        "counted_as_eager": {name: why for name, why in results.counted_as_eager.items() if name in workload.pieces},
        "size_checks": [asdict(each) | {"error_pct": each.error_pct} for each in size_checks(workload, results, known)],
        "lost": list(workload.lost),
        "notes": [
            *(*workload.notes, *_left_out(workload, results, others)),
            *(*_other_threads(workload, results), *_elsewhere(workload, results)),
        ],
    }


def _left_out(workload: Workload, results: ProfileResults, others: Iterable[SegmentFigure]) -> list[str]:
    """Return a line about the figures of each conversion that were measured in another setting than the newest."""
    counts = Counter(
        (each.hardware if each.hardware in results.elsewhere else LOCAL, each.conversion)
        for each in others
        if each.segment_id in workload.pieces
    )
    command = f"almaflow profile measure {workload.profile_id}"
    return [
        f"{name}: {count} {'figure' if count == 1 else 'figures'} left out, measured with other versions, threads or "
        f"on another processor than the newest ones: {command} {place}/{name}"
        for (place, name), count in counts.items()
    ]


def _elsewhere(workload: Workload, results: ProfileResults) -> list[str]:
    """Return a line about machines other than the one that recorded the session, which alone timed Python."""
    if not (machines := [each for each in results.elsewhere if any(one.hardware == each for one in results.figures)]):
        return []
    here = workload.processor or "the machine that recorded it"
    return [f"totals of {', '.join(machines)}: Python, and graphs that were sent to no machine, count as on {here}"]


def _other_threads(workload: Workload, results: ProfileResults) -> list[str]:
    """Return a line for each machine that measured with other threads than the application ran with."""
    return [
        f"the application ran with {workload.threads} {_threads(workload.threads)}, its segments were measured with "
        f"{count} on {name}: the whole function and the sum of its parts differ by that too"
        for name, count in results.threads.items()
        if workload.threads and count != workload.threads
    ]


def _threads(count: int) -> str:
    return "thread" if count == 1 else "threads"


def _covered_pct(workload: Workload, known: Mapping[Deployment, Latencies]) -> float | None:
    """Return the share of the graphs' eager time that was tried in any conversion, or interpolated."""
    found = {name for each in known.values() for name in (*each.figures, *_known(each.of))}
    return _share_pct(workload.pieces.values(), found)


def _known(used: Mapping[str, Latency]) -> set[str]:
    """Return the segments whose time was measured, or interpolated between what was."""
    return {name for name, latency in used.items() if not latency.recorded}


def _share_pct(pieces: Collection[Piece], found: set[str]) -> float | None:
    """Return the share of the eager time of some segments; None where they have none."""
    whole = sum(each.weight_ms for each in pieces)
    return 100 * sum(each.weight_ms for each in pieces if each.segment_id in found) / whole if whole else None


def _parts_ms(function: FunctionCalls, known: Mapping[Deployment, Latencies]) -> float | None:
    """Return the total of eager over the calls whose times count, which ``eager_ms`` is of too."""
    calls = [call for call in function.calls if call.python_ms is not None and call.graphs_ms is not None]
    every = [median_total_ms(calls, found.of) for each, found in known.items() if each.conversion == EAGER]
    return next((ms for ms in every if ms is not None), None)


def _without_python(function: FunctionCalls) -> str | None:
    """Return why there is no total although each graph has a time; None where no call was recorded."""
    if not function.calls:
        return None
    reasons = " or ".join(each for each in function.discarded if each != "raised") or "discarded"
    return (
        f"no call tells Python's time: all {len(function.calls)} were {reasons}; "
        "call each input twice, or from one thread"
    )


def _function(
    function: FunctionCalls, workload: Workload, results: ProfileResults, known: Mapping[Deployment, Latencies]
) -> dict[str, Any]:
    counts = function.counts
    totals = []
    best: dict[str, Latency] = {}
    writing = {name for name in counts if workload.pieces[name].writes}
    for hardware in dict.fromkeys(each.hardware for each in known):
        there = {each: found for each, found in known.items() if each.hardware == hardware}
        best = best_of_each(there.values(), writing)
        mixes = {BEST: (list(there.values()), best)}
        mixes |= {each.conversion: ([found], found.of) for each, found in there.items()}
        for name, (every, used) in mixes.items():
            entry = _total(function, hardware, name, used, results) | _outcome(counts, every, used)
            entry["unchecked"] = sum(used[each].conversion != EAGER for each in writing if each in used)
            entry["covered_pct"] = _share_pct([workload.pieces[each] for each in counts], _known(used))
            if entry["why"] == NOT_MEASURED and entry["covered_pct"] is not None:
                entry["why"] = f"{NOT_MEASURED}; {entry['covered_pct']:.1f}% of the graphs' time is"
            if entry["ms"] is None and not entry["why"]:
                entry["why"] = _without_python(function)
            totals.append(entry)
    here = {each: found for each, found in known.items() if each.hardware not in results.elsewhere}
    if here:  # Python, and what an application is beside its graphs, is known of the machine that recorded it
        last = [*here][-1].hardware
        best = best_of_each((found for each, found in here.items() if each.hardware == last), writing)
    whole, parts = eager_ms(function), _parts_ms(function, here)
    return {
        "function": function.function,
        "calls": len(function.calls),
        "discarded": dict(function.discarded),
        "variants": function.variants,
        "eager_ms": whole,
        "parts_ms": parts,
        "closure_pct": 100 * (parts / whole - 1) if parts is not None and whole else None,
        "totals": sorted(totals, key=_rank),
        "verification": _verification(function, results, best),
        "timeline": timeline_of(function.typical, best),
        "segments": segment_entries(function, workload, known, best),
        "python": [
            {
                "where": slot.where,
                "calls_per_run": slot.per_call,
                "ms": slot.ms,
                "low_ms": slot.interval.low if slot.interval else None,
                "high_ms": slot.interval.high if slot.interval else None,
                "ms_per_run": slot.per_call_ms,
            }
            for slot in function.python
        ],
    }


def _verification(
    function: FunctionCalls, results: ProfileResults, best: Mapping[str, Latency]
) -> dict[str, Any] | None:
    """Return what repeating calls with the best conversions gave; None where others are the best by now."""
    found = next((each for each in results.verifications if each.function == function.function), None)
    if found is None or not best:
        return None
    notes = " ".join(found.notes)
    for name, ran in found.conversions.items():
        if name in best and ran != best[name].conversion and not (ran == EAGER and name in notes):
            return None
    return asdict(found) | {"error_pct": found.error_pct, "notes": list(found.notes)}


def _rank(entry: Mapping[str, Any]) -> tuple[bool, float, bool]:
    """Sort by time, or by that of the graphs; the best mix stands before a conversion that takes as long."""
    return entry["ms"] is None, entry["ms"] or entry["backend_ms"] or math.inf, entry["conversion"] != BEST


def _total(
    function: FunctionCalls, hardware: str, conversion: str, found: Mapping[str, Latency], results: ProfileResults
) -> dict[str, Any]:
    names = ("ms", "low_ms", "high_ms", "backend_ms", "python_ms", "p50_ms", "p95_ms", "cost_per_million_usd")
    made = total(function.calls, found, results.prices.get(hardware))
    figures = asdict(made) if made else dict.fromkeys(names) | {"backend_ms": graphs_ms(function.calls, found)}
    return {"hardware": hardware, "conversion": conversion} | {name: figures[name] for name in names}


def _outcome(counts: Counter[str], every: Any, used: Mapping[str, Latency]) -> dict[str, Any]:
    """Return how well the answers of what a total is made of agree with eager's, and what failed."""
    figures: list[SegmentFigure] = []
    failures, why = 0, None
    for found in every:
        for name in counts:
            figure, latency = found.figures.get(name), used.get(name)
            if figure and latency and figure.conversion == latency.conversion:
                figures.append(figure)
            if name not in used:
                reason = found.failed.get(name)
                failures += reason != NOT_MEASURED
                why = reason if why in {None, NOT_MEASURED} else why
    decibels = [each.fidelity_db for each in figures if each.fidelity_db is not None and each.conversion != EAGER]
    shares = [each.equal_share for each in figures if each.equal_share is not None and each.conversion != EAGER]
    return {
        "fidelity_db": min(decibels, default=None),
        "equal_share": min(shares, default=None),
        "failures": failures,
        "why": why,
        "interpolated": sum(used[name].interpolated for name in counts if name in used),
    }
