"""The table on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from almaflow.analysis.batch_search import WHY, search_table, searched
from almaflow.analysis.sizes import size_table
from almaflow.analysis.wording import BASELINES, figure
from almaflow.report import cells
from almaflow.report.choice import chosen, marked, reasons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from almaflow.analysis import Analysis, Row
    from almaflow.records import Job

UNLIMITED = 1000
PREDICTED = "<- PREDICTED"
"""Marks the only conversion that a prediction is meant for."""


def render(job: Job, analysis: Analysis, console: Console) -> None:
    """Print the table by latency, what did not run and why, the best conversion, headroom and recommendations."""
    console.print(Text(cells.title(job), style="bold"))
    if interrupted := cells.interrupted(job):
        console.print(Text(interrupted, style="yellow"))
    if any(row.counts for row in analysis.rows):
        console.print(_fitting(analysis, console))
        timed = [row for row in analysis.rows if row.counts]
        _print_small(size_table((row.name, row.metrics) for row in timed), console)
        _print_small(search_table((row.name, searched(row.outcome.measurement)) for row in timed), console)
    for line in (*cells.model_notes(job), *cells.legend(analysis)):
        console.print(Text(line))
    for line in analysis.warnings:
        console.print(Text(line, style="yellow"))
    _print_rest(analysis, console)
    console.print()
    console.print(Text(cells.best(analysis), style="bold"))
    if headroom := cells.headroom(analysis):
        console.print(Text(headroom))
    if predicted := cells.predictions(analysis):
        console.print(Text("\nMean absolute prediction error", style="bold"))
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for column in cells.PREDICTIONS:
            table.add_column(column, justify="left" if column == cells.PREDICTIONS[0] else "right")
        for standing in predicted:
            table.add_row(*standing)
        console.print(Padding(table, (0, 0, 0, 2)))
    _print_choice(analysis, console)
    _print_recommendations(analysis, console)


def _print_small(table_of: tuple[tuple[str, ...], list[tuple[str, ...]]], console: Console) -> None:
    """Print a table of texts, unless it has no row."""
    header, rows = table_of
    if rows:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for column in header:
            table.add_column(column, justify="left" if column in {header[0], WHY} else "right")
        for row in rows:
            table.add_row(*map(Text, row))
        console.print()
        console.print(table)


def _print_choice(analysis: Analysis, console: Console) -> None:
    if analysis.choice:
        console.print(Text(f"\n{chosen(analysis.choice)}", style="bold"))
        for name, reason in reasons(analysis.choice):
            console.print(_indented(f"{name}: {reason}", 2))


def _print_recommendations(analysis: Analysis, console: Console) -> None:
    if analysis.recommendations:
        console.print(Text("\nRecommended for", style="bold"))
    for item in analysis.recommendations:
        figures = f"{figure(item.latency_ms)} ms" + (f", {item.vs_eager} eager" if item.vs_eager else "")
        console.print(_indented(f"{item.use}: {item.conversion} ({figures})", 2))
        console.print(_indented(item.reason, 6))


def _fitting(analysis: Analysis, console: Console) -> Table:
    """Give each conversion one line where that fits; otherwise device, dtype, interval and verdict go underneath."""
    table = _table(analysis, wide=True)
    if Measurement.get(console, console.options.update(width=UNLIMITED), table).maximum <= console.width:
        return table
    return _table(analysis, wide=False)


def _table(analysis: Analysis, *, wide: bool) -> Table:
    rows = [row for row in analysis.rows if row.counts]
    predicted = [row for row in rows if "prediction_error_pct" in row.metrics]
    only = predicted[0] if len(predicted) == 1 < len(rows) else None
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("conversion", overflow="fold")
    for header in ("device", "dtype") if wide else ():
        table.add_column(header)
    headers = ["latency ms", "95% interval"] if wide else ["ms\n95% interval"]
    headers.append("samples/s" if wide else "samples\n/s")
    compared = [each for each in BASELINES if any(cells.speedup(row.metrics, each) for row in rows)]
    headers += [f"vs {each}" if wide else f"vs\n{each}" for each in compared]
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("fidelity", no_wrap=True)
    evaluated = cells.quality_name(row.metrics for row in rows)
    if evaluated:
        table.add_column(evaluated, justify="right", no_wrap=wide)
    if predicted:
        table.add_column("pred. error" if wide else "pred.\nerror", justify="right", no_wrap=True)
    for row in rows:
        texts = _texts(row, compared, analysis, wide=wide)
        texts += [cells.quality(row.metrics, row.lower_is_better)] if evaluated else []
        shown = [*texts, cells.error(row.metrics) + (f"{' ' if wide else chr(10)}{PREDICTED}" if row is only else "")]
        shown = shown if predicted else texts
        table.add_row(*map(Text, shown), style="bold" if row is analysis.best else None)
    return table


def _texts(row: Row, compared: Sequence[str], analysis: Analysis, *, wide: bool) -> list[str]:
    name = f"{'>' if row is analysis.best else ' '} {marked(row.name, analysis.pareto)}"
    setup, metrics = [cells.device(row), row.outcome.planned.dtype], row.metrics
    latency = [cells.latency(metrics), cells.interval(metrics)]
    rates = [cells.throughput(metrics), *(cells.speedup(metrics, baseline) for baseline in compared)]
    fidelity = list(filter(None, cells.fidelity(row)))
    if wide:
        return [name, *setup, *latency, *rates, " ".join(fidelity)]
    return [f"{name}\n    {' '.join(setup)}", "\n".join(latency), *rates, "\n".join(fidelity)]


def _print_rest(analysis: Analysis, console: Console) -> None:
    unavailable = cells.unavailable(analysis)
    for title, rows in cells.failures(analysis).items():
        console.print(Text(f"\n{title}", style="bold"))
        for row in rows:
            console.print(_indented(row.name, 2))
            console.print(_indented(cells.failure(row), 6))
            if row.outcome.log_path:
                # A path is for copying: let the terminal wrap it, so that no line break is put into it.
                console.print(Text(f"      log: {row.outcome.log_path}"), soft_wrap=True)
    if unavailable:
        console.print(Text("\nCannot run here", style="bold"))
    for reason, names in unavailable.items():
        console.print(_indented(reason, 2))
        console.print(_indented(", ".join(names), 6))


def _indented(text: str, columns: int) -> Padding:
    return Padding(Text(text, overflow="fold"), (0, 0, 0, columns), expand=False)
