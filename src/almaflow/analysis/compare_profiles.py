"""Two recorded sessions side by side: totals of the functions that both have, and which segments are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SLOWER, FASTER, SAME, UNKNOWN = "slower", "faster", "not told apart", "no verdict"
PARTS = ("ms", "low_ms", "high_ms", "backend_ms", "python_ms")


def compare_profiles(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return what differs between two sessions as plain data; milliseconds.

    Args:
        before: The baseline, as ``ProfileReport.to_dict`` returns it.
        after: The other one.
    """
    first, second = ({each["function"]: each for each in data["functions"]} for data in (before, after))
    return {
        "before": before["profile_id"],
        "after": after["profile_id"],
        "processors": list(dict.fromkeys((before["processor"], after["processor"]))),
        "functions": [_function(first[name], second[name]) for name in first if name in second],
        "only_before": [name for name in first if name not in second],
        "only_after": [name for name in second if name not in first],
    }


def _function(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    segments = [{each["segment_id"]: each for each in one["segments"]} for one in (before, after)]
    totals = [{(each["hardware"], each["conversion"]): each for each in one["totals"]} for one in (before, after)]
    order = list(dict.fromkeys((*totals[1], *totals[0])))
    return {
        "function": before["function"],
        "totals": [
            {"hardware": key[0], "conversion": key[1]} | _total(totals[0].get(key), totals[1].get(key)) for key in order
        ],
        "same_segments": len({*segments[0]} & {*segments[1]}),
        "only_before": [_named(segments[0][name]) for name in segments[0] if name not in segments[1]],
        "only_after": [_named(segments[1][name]) for name in segments[1] if name not in segments[0]],
    }


def _named(segment: Mapping[str, Any]) -> dict[str, Any]:
    return {name: segment[name] for name in ("segment_id", "location", "what")}


def _total(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> dict[str, Any]:
    sides = [{name: each[name] if each else None for name in PARTS} for each in (before, after)]
    old, new = (each["ms"] for each in sides)
    known = old is not None and new is not None
    return {
        "before": sides[0],
        "after": sides[1],
        "change_pct": 100 * (new / old - 1) if known and old else None,
        "verdict": _verdict(*sides) if known else UNKNOWN,
    }


def _verdict(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Tell which is faster, where their intervals have no point in common."""
    if any(each[end] is None for each in (before, after) for end in ("low_ms", "high_ms")):
        return UNKNOWN
    if after["high_ms"] < before["low_ms"]:
        return FASTER
    return SLOWER if after["low_ms"] > before["high_ms"] else SAME
