"""A recorded session on the terminal: totals of each function, then where its time goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from almaflow.analysis.wording import figure
from almaflow.report.profile_words import (
    cell_text,
    cost,
    count,
    fidelity,
    heading,
    interval,
    mark,
    milliseconds,
    unchecked,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

SHOWN = 6
"""Segments, and places of Python, that are shown where not all are asked for."""
WIDTH = 130
"""Columns of a file, and of what is no terminal."""


def render_profile(data: Mapping[str, Any], console: Console, *, verbose: bool = False) -> None:
    """Print what ``ProfileReport.to_dict`` returns.

    Args:
        data: The session and its figures.
        console: What is printed on.
        verbose: Whether every segment is shown with all its conversions.
    """
    for function in data["functions"]:
        _heading(function, console)
        _totals(function["totals"], console)
        _verification(function["verification"], console)
        _where(function, console, verbose=verbose)
        console.print()
    _footnotes(data, console, verbose=verbose)


def _heading(function: Mapping[str, Any], console: Console) -> None:
    console.print(Text(heading(function), style="bold"))
    if function["eager_ms"] is not None:
        console.print(Text(f"  whole function, eager, as recorded  {figure(function['eager_ms'])} ms"))
    if function["closure_pct"] is not None:
        parts = f"  sum of its parts, eager             {figure(function['parts_ms'])} ms"
        console.print(Text(f"{parts}  ({function['closure_pct']:+.1f}%)"))


def _totals(totals: Sequence[Mapping[str, Any]], console: Console) -> None:
    if not totals:
        console.print(Text("  nothing was measured yet"))
        return
    machines = list(dict.fromkeys(each["hardware"] for each in totals))
    several = len(machines) > 1
    words = ("machine", "conversion") if several else ("conversion",)
    table = _table(words, ("graphs ms", "Python ms", "total ms", "95% interval", "p95"))
    if not several:
        console.print(Text(f"  on {machines[0]}"))
    priced = any(each["cost_per_million_usd"] is not None for each in totals)
    for header in (*(("$/million",) if priced else ()), "fidelity", "fails"):
        table.add_column(header, justify="right", no_wrap=True)
    for each in totals:
        name = "best of each" if each["conversion"] == "best" else each["conversion"]
        cells = [
            *(milliseconds(each[key]) for key in ("backend_ms", "python_ms", "ms")),
            interval(each),
            milliseconds(each["p95_ms"]),
            *((cost(each),) if priced else ()),
            fidelity(each),
            str(each["failures"] or ""),
        ]
        table.add_row(*map(Text, (*((each["hardware"],) if several else ()), name, *cells)))
    console.print(Padding(table, (0, 0, 0, 2)))
    for each in totals:
        if each["ms"] is None and each["why"]:
            console.print(Text(f"  {each['conversion']}: no total: {each['why'].splitlines()[0]}"))
        if told := unchecked(each):
            console.print(Text(f"  {each['conversion']}: {told}"))


def _verification(found: Mapping[str, Any] | None, console: Console) -> None:
    """Tell what repeated calls took with the best conversion of each segment in place."""
    if found is None:
        return
    calls = count(found["calls"], "call")
    console.print(Text(f"  Best of each, run in place ({calls} {found['rounds']} times)", style="bold"))
    took = f"    took {figure(found['measured_ms'])} ms"
    within = f" ({interval(found)})" if interval(found) else ""
    console.print(Text(f"{took}{within}; the same calls eagerly {figure(found['eager_ms'])} ms"))
    if found["predicted_ms"] is not None:
        python = f"Python {figure(found['predicted_python_ms'])} ms, in place {figure(found['python_ms'])} ms"
        told = f"    predicted {figure(found['predicted_ms'])} ms ({found['error_pct']:+.1f}%); of it {python}"
        console.print(Text(told))
    how = f" ({fidelity(found)})" if fidelity(found) else ""
    console.print(Text(f"    its answers agree with eager's{how}" if found["ok"] else f"    WRONG: {found['reason']}"))
    for line in found["notes"]:
        console.print(Padding(Text(line), (0, 0, 0, 4)))


def _where(function: Mapping[str, Any], console: Console, *, verbose: bool) -> None:
    segments, python = function["segments"], function["python"]
    whole = sum(each["ms_per_run"] for each in (*segments, *python))
    if not whole:
        return
    console.print(Text("  Where it goes, best of each", style="bold"))
    table = _table(("part",), ("calls/run", "ms/call", "ms/run", "share"))
    table.add_column("conversion", overflow="fold")
    rows = [(each, f"{each['location']}, {each['what']}", _winner(each)) for each in segments]
    rows += [(each, f"Python {each['where']}", "") for each in python]
    rows.sort(key=lambda row: -row[0]["ms_per_run"])
    shown = rows if verbose else rows[:SHOWN]
    for each, name, winner in shown:
        share = f"{100 * each['ms_per_run'] / whole:.0f}%"
        figures = (f"{each['calls_per_run']:.3g}", milliseconds(each["ms"]), milliseconds(each["ms_per_run"]), share)
        table.add_row(*map(Text, (name, *figures, winner)))
        for line in _cells(each.get("cells", ())) if verbose else ():
            table.add_row(Text(f"  {line}"))
    if rest := rows[len(shown) :]:
        table.add_row(
            *map(
                Text,
                (f"{len(rest)} others (--verbose)", "", "", milliseconds(sum(each["ms_per_run"] for each, *_ in rest))),
            )
        )
    console.print(Padding(table, (0, 0, 0, 2)))


def _winner(segment: Mapping[str, Any]) -> str:
    """Name the best conversion, and the times of the next two."""
    others = [each for each in segment["cells"] if each["ms"] is not None and each["conversion"] != segment["best"]]
    others.sort(key=lambda each: each["ms"])
    told = ", ".join(f"{each['conversion']} {figure(each['ms'])}{mark(each)}" for each in others[:2])
    best: str = segment["best"]
    return best + (f" ({told})" if told else "")


def _cells(cells: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for each in cells:
        if each["ms"] is not None:
            yield cell_text(each)
        elif each["message"]:
            yield f"{each['conversion']}: {each['failure'] or each['status']}: {each['message'].splitlines()[0]}"


def _footnotes(data: Mapping[str, Any], console: Console, *, verbose: bool) -> None:
    if data["processor"]:
        console.print(Text(f"Python was timed on {data['processor']}"))
    if data["covered_pct"] is not None and any(each["totals"] for each in data["functions"]):
        console.print(Text(f"{data['covered_pct']:.1f}% of the graphs' eager time is measured"))
    reasons = data["counted_as_eager"]
    if reasons:
        console.print(Text(f"{count(len(reasons), 'segment')} counted as recorded, eager:"))
        for why in dict.fromkeys(reasons.values()):
            named = [name for name, reason in reasons.items() if reason == why]
            console.print(Padding(Text(f"{', '.join(named) if verbose else len(named)}: {why}"), (0, 0, 0, 2)))
    for each in data["size_checks"]:
        of = f"{each['conversion']}, family {each['family']}"
        told = f"interpolated {figure(each['interpolated_ms'])} ms, measured {figure(each['measured_ms'])} ms"
        console.print(Text(f"Size check: {of}: {told} ({each['error_pct']:+.1f}%)"))
    console.print(Text("Not captured: nothing" if not data["lost"] else "Not captured:"))
    for line in data["lost"]:
        console.print(Padding(Text(line), (0, 0, 0, 2)))
    for line in data["notes"]:
        console.print(Text(line))


def _table(words: Iterable[str], figures: Iterable[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for header in words:
        table.add_column(header, overflow="fold")
    for header in figures:
        table.add_column(header, justify="right", no_wrap=True)
    return table
