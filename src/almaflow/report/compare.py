"""Comparisons as a table on the terminal, Markdown, HTML, CSV or JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from almaflow.analysis.compare import SHARES
from almaflow.report.gate import gate_data, workload_text
from almaflow.report.markdown import escaped, markdown_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from almaflow.analysis.compare import Comparison, Difference, Side
    from almaflow.analysis.gate import Judged

COLORS = {"faster": "green", "slower": "red", "failed": "red"}


def render_comparisons(comparisons: Sequence[Comparison], alone: Sequence[Side], console: Console) -> None:
    """Print the settings that differ in every pair, warnings, the figures of each pair, and results without a pair."""
    for each in comparisons[:1]:
        console.print(Text(f"before: {each.before.label}\nafter: {each.after.label}"), soft_wrap=True)
    for settings in _shared_settings(comparisons):
        console.print(Text("  ".join(settings)))
    for text in _warnings(comparisons):
        console.print(Text(f"warning: {text}", style="yellow"))
    for each in comparisons:
        console.print(Text(f"\n{_name(each)}", style="bold"))
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        table.add_column("", overflow="fold")
        for header in ("before", "after", "change"):
            table.add_column(header, justify="right", overflow="fold")
        for row in _rows(each):
            table.add_row(*map(Text, row))
        console.print(table)
        console.print(Text(f"latency: {each.verdict}, {each.why}", style=COLORS.get(each.verdict, "")))
    for text in _unpaired(comparisons, alone):
        console.print(Text(text))


def comparisons_markdown(comparisons: Sequence[Comparison], alone: Sequence[Side]) -> str:
    """Return comparisons and results without a pair as Markdown."""
    parts = []
    if settings := _shared_settings(comparisons):
        parts += [markdown_table(("what differs", "before", "after"), settings)]
    parts += [f"Warning: {escaped(text)}" for text in _warnings(comparisons)]
    for each in comparisons:
        table = markdown_table(("", each.before.label, each.after.label, "change"), _rows(each))
        parts += [f"## {escaped(_name(each))}", table, f"Latency: **{each.verdict}**, {escaped(each.why)}"]
    parts += [escaped(text) for text in _unpaired(comparisons, alone)]
    return "\n\n".join(parts) + "\n"


def comparisons_json(comparisons: Sequence[Comparison], alone: Sequence[Side], judged: Sequence[Judged] = ()) -> str:
    """Return comparisons, results without a pair, and the verdicts of a gate, as JSON for scripts."""
    pairs = []
    for each in comparisons:
        pair: dict[str, Any] = asdict(each)
        for as_data, difference in zip(pair["differences"], each.differences, strict=True):
            as_data["percent"] = difference.percent
            as_data["points"] = difference.points
        pairs.append(pair)
    data: dict[str, Any] = {"pairs": pairs, "alone": [asdict(side) for side in alone]}
    return json.dumps(data | ({"gate": gate_data(judged)} if judged else {}), indent=1)


def comparisons_table(comparisons: Sequence[Comparison], kind: str) -> str:
    """Return a line for each pair and metric, as ``csv`` or ``html``."""
    import pandas as pd

    rows = [
        {
            "model": each.before.workload[0],
            "batch_size": each.before.workload[1],
            "conversion": each.before.conversion,
            "metric": difference.metric,
            "before": difference.before,
            "after": difference.after,
            "change_pct": difference.percent,
            "verdict": each.verdict if difference.metric == "latency_ms" else "",
            "warnings": "; ".join(each.warnings),
            "machine_before": each.before.machine,
            "machine_after": each.after.machine,
        }
        for each in comparisons
        for difference in each.differences
    ]
    frame = pd.DataFrame(rows)
    return str(frame.to_csv(index=False) if kind == "csv" else frame.to_html(index=False, na_rep=""))


def _unpaired(comparisons: Sequence[Comparison], alone: Sequence[Side]) -> list[str]:
    if alone and not comparisons:
        labels = " and ".join(dict.fromkeys(side.label for side in alone))
        return [f"{labels} have no conversion of the same model and batch size in common"]
    return [f"only in {side.label}: {workload_text(side.workload)}" for side in alone]


def _name(each: Comparison) -> str:
    first, second = (workload_text(side.workload) for side in (each.before, each.after))
    name = first if first == second else f"{first} and {second}"
    machines = [side.machine for side in (each.before, each.after)]
    return name if machines[0] == machines[1] else f"{name}, on {machines[0]} and on {machines[1]}"


def _rows(each: Comparison) -> list[tuple[str, str, str, str]]:
    return [
        (difference.metric, _figure(difference.before), _figure(difference.after), _change(difference))
        for difference in each.differences
    ]


def _change(difference: Difference) -> str:
    if difference.points is not None:
        unit = "dB" if difference.metric.endswith("_db") else "points"
        scale = 100 if difference.metric.endswith(SHARES) else 1
        return f"{scale * difference.points:+.1f} {unit}"
    return "" if difference.percent is None else f"{difference.percent:+.1f}%"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _shared_settings(comparisons: Sequence[Comparison]) -> list[tuple[str, str, str]]:
    """Return the settings that differ in every pair alike, so that they are shown once."""
    if not comparisons:
        return []
    return [row for row in comparisons[0].settings if all(row in each.settings for each in comparisons)]


def _warnings(comparisons: Sequence[Comparison]) -> list[str]:
    return list(dict.fromkeys(text for each in comparisons for text in each.warnings))
