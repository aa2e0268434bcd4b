"""Two recorded sessions side by side, on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from almaflow.records.profile_results import BEST
from almaflow.report.profile_words import count, milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

SHOWN = 6
"""Segments that are named of each side."""


def render_profile_comparison(data: Mapping[str, Any], console: Console) -> None:
    """Print what ``analysis.compare_profiles`` returns.

    Args:
        data: Both sessions.
        console: What is printed on.
    """
    console.print(Text(f"{data['before']} -> {data['after']}", style="bold"))
    if len(data["processors"]) > 1:
        console.print(Text(f"on other machines: {' and '.join(data['processors'])}"))
    for each in data["functions"]:
        _function(each, console)
    for side in ("before", "after"):
        if names := data[f"only_{side}"]:
            console.print(Text(f"only {data[side]} has {', '.join(names)}"))


def _function(function: Mapping[str, Any], console: Console) -> None:
    console.print(Text(function["function"], style="bold"))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    several = len({each["hardware"] for each in function["totals"]}) > 1
    for header in (*(("machine",) if several else ()), "conversion"):
        table.add_column(header, overflow="fold")
    for header in ("total ms", "then", "change", "graphs ms", "then", "Python ms", "then"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("verdict")
    for each in function["totals"]:
        name = "best of each" if each["conversion"] == BEST else each["conversion"]
        pairs = [milliseconds(each[side][part]) for part in ("ms", "backend_ms", "python_ms") for side in _SIDES]
        change = "" if each["change_pct"] is None else f"{each['change_pct']:+.1f}%"
        cells = (*((each["hardware"],) if several else ()), name, *pairs[:2], change, *pairs[2:], each["verdict"])
        table.add_row(*map(Text, cells))
    console.print(Padding(table, (0, 0, 0, 2)))
    console.print(Text(f"  {count(function['same_segments'], 'segment')} in both"))
    for side in _SIDES:
        parts = function[f"only_{side}"]
        if parts:
            named = "; ".join(f"{part['location']}, {part['what']}" for part in parts[:SHOWN])
            more = f"; {len(parts) - SHOWN} others" if len(parts) > SHOWN else ""
            console.print(Text(f"  {len(parts)} only {side}: {named}{more}"))


_SIDES = ("before", "after")
