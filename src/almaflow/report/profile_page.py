"""A recorded session as one HTML file: totals, a call of each function from left to right, and its segments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from almaflow.analysis.wording import figure
from almaflow.records.plan import EAGER
from almaflow.records.profile_results import BEST
from almaflow.report.html_page import template
from almaflow.report.profile_words import cell_text, cost, fidelity, heading, interval, mark, milliseconds, unchecked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Okabe and Ito's colours without grey, which is Python's (jfly.uni-koeln.de/color).
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
PYTHON = "#bbbbbb"
MOST_PARTS = 600
"""Parts of a call that are drawn: more are narrower than a pixel, and slow in a browser."""
WIDTH = 1000.0


def profile_page(data: Mapping[str, Any], title: str | None = None) -> str:
    """Return the page of a session.

    Args:
        data: The session and its figures, as ``ProfileReport.to_dict`` returns them.
        title: The heading; None: the session's ID.
    """
    functions = [_function(each) for each in data["functions"]]
    title = title or f"Profile {data['profile_id']}"
    return template("profile.html").render(title=title, profile=data, functions=functions, figure=figure)


def _function(function: Mapping[str, Any]) -> dict[str, Any]:
    segments = function["segments"]
    colors = {each["segment_id"]: COLORS[number % len(COLORS)] for number, each in enumerate(segments)}
    deployments = list(
        dict.fromkeys((cell["hardware"], cell["conversion"]) for each in segments for cell in each["cells"])
    )
    alone = len({hardware for hardware, _ in deployments}) == 1
    whole = sum(each["ms_per_run"] for each in (*segments, *function["python"]))
    return {
        "data": function,
        "heading": heading(function),
        "several": len({each["hardware"] for each in function["totals"]}) > 1,
        "priced": any(each["cost_per_million_usd"] is not None for each in function["totals"]),
        "totals": [_total(each) for each in function["totals"]],
        "timeline": _timeline(function, colors),
        "columns": [name if alone else f"{hardware} {name}" for hardware, name in deployments],
        "segments": [_segment(each, colors[each["segment_id"]], whole, deployments) for each in segments],
        "python": [
            {
                "where": each["where"],
                "per_run": f"{each['calls_per_run']:.3g}",
                "ms": figure(each["ms"]),
                "interval": interval(each),
                "run": figure(each["ms_per_run"]),
                "share": _share(each["ms_per_run"], whole),
            }
            for each in function["python"]
        ],
    }


def _total(total: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "hardware": total["hardware"],
        "name": "best of each" if total["conversion"] == BEST else total["conversion"],
        "best": total["conversion"] == BEST and total["ms"] is not None,
        "figures": [milliseconds(total[key]) for key in ("backend_ms", "python_ms", "ms")],
        "interval": interval(total),
        "p95": milliseconds(total["p95_ms"]),
        "cost": cost(total),
        "fidelity": fidelity(total),
        "fails": total["failures"] or "",
        "why": (total["why"] or "").partition("\n")[0] if total["ms"] is None else "",
        "unchecked": unchecked(total),
    }


def _share(ms: float, whole: float) -> str:
    return f"{100 * ms / whole:.0f}%" if whole else ""


def _segment(
    segment: Mapping[str, Any], color: str, whole: float, deployments: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    cells = {(each["hardware"], each["conversion"]): each for each in segment["cells"]}
    return {
        "color": color,
        "id": segment["segment_id"],
        "location": segment["location"],
        "what": segment["what"],
        "per_run": f"{segment['calls_per_run']:.3g}",
        "run": figure(segment["ms_per_run"]),
        "share": _share(segment["ms_per_run"], whole),
        "cells": [_cell(cells.get(each), each[1] == segment["best"]) for each in deployments],
    }


def _cell(cell: Mapping[str, Any] | None, is_best: bool) -> dict[str, Any]:  # noqa: FBT001 - one call
    if cell is None:
        return {"text": "", "title": "", "best": False}
    if cell["ms"] is None:
        return {"text": cell["failure"] or cell["status"] or "", "title": cell["message"] or "", "best": False}
    return {"text": f"{figure(cell['ms'])}{mark(cell)}", "title": cell_text(cell), "best": is_best}


def _timeline(function: Mapping[str, Any], colors: Mapping[str, str]) -> dict[str, Any] | None:
    """Return two rows of a call, as it was recorded and with the best of each, on one scale."""
    found = function["timeline"]
    if not found or not found["parts"]:
        return None
    parts = found["parts"]
    named = {each["segment_id"]: f"{each['location']}, {each['what']}" for each in function["segments"]}
    rows = [("eager, as recorded", "ms")]
    if any(each["conversion"] not in {None, EAGER} for each in parts):
        rows.append(("best of each", "best_ms"))
    longest = max(sum(part[key] for part in parts) for _, key in rows) or 1.0
    return {
        "call": found["call"],
        "left": max(0, len(parts) - MOST_PARTS),
        "rows": [
            {
                "name": name,
                "ms": figure(sum(part[key] for part in parts)),
                "bars": list(_bars(parts[:MOST_PARTS], key, WIDTH / longest, named, colors)),
            }
            for name, key in rows
        ],
    }


def _bars(
    parts: Iterable[Mapping[str, Any]], key: str, scale: float, named: Mapping[str, str], colors: Mapping[str, str]
) -> Iterable[dict[str, Any]]:
    at = 0.0
    for part in parts:
        ms, name = part[key], part["segment_id"]
        how = f", {part['conversion']}" if key == "best_ms" and part["conversion"] else ""
        told = f"{named.get(name, name)}{how}" if name else "Python"
        yield {
            "x": f"{at * scale:.2f}",
            "width": f"{ms * scale:.2f}",
            "color": colors.get(name, COLORS[0]) if name else PYTHON,
            "title": f"{told}: {figure(ms)} ms",
            "python": not name,
        }
        at += ms
