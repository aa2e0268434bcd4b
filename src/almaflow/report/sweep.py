"""A sweep as a table on the terminal, and as the Markdown that MLflow shows above its run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from almaflow.analysis.wording import UNKNOWN, figure
from almaflow.report import cells as texts
from almaflow.report.machines import HEADINGS as MACHINES
from almaflow.report.machines import LEFT as WORDS
from almaflow.report.machines import MATTER_OF_FACT, columns, machine_cells
from almaflow.report.markdown import code, escaped, markdown_table
from almaflow.report.progress import duration

if TYPE_CHECKING:
    from rich.console import Console

    from almaflow.analysis.sweep import SweepRow, SweepSummary

HEADINGS = ("job", "best", "ms", "vs eager", "vs inductor", "fidelity", "ok", "failed", "n/a", "took")
LEFT = 2
"""The first columns are words, the others figures."""
NARROW = tuple(number for number, heading in enumerate(HEADINGS) if heading not in {"vs inductor", "fidelity"})
"""Columns on the terminal, whose lines are short."""
MOST_NAMED = 4
"""Jobs whose best conversions are named one by one in a line."""


def render_sweep(summary: SweepSummary, console: Console) -> None:
    """Print one row for each job, then every failure with its reason."""
    console.print(Text(_title(summary), style="bold"))
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False, padding=(0, 1, 0, 0))
    for number in NARROW:
        heading = HEADINGS[number]
        table.add_column(heading, overflow="fold", justify="left" if number < LEFT else "right", no_wrap=number >= LEFT)
    for row in summary.rows:
        cells = _cells(row)
        table.add_row(*(Text(cells[number]) for number in NARROW), style="red" if row.problem else None)
    console.print(table)
    if summary.machines:
        _render_machines(summary, console)
    problems = [(row.what, row.problem) for row in summary.rows if row.problem]
    problems += [
        (f"{failure.what}: {failure.conversion}", f"{failure.failure}: {failure.message}")
        for failure in summary.failures
    ]
    if problems:
        console.print(Text("\nFailed", style="bold"))
    for what, why in problems:
        console.print(Padding(Text(what, overflow="fold"), (0, 0, 0, 2)))
        console.print(Padding(Text(why, overflow="fold"), (0, 0, 0, 6)))


def _render_machines(summary: SweepSummary, console: Console) -> None:
    console.print(Text("\nMachines", style="bold"))
    shown = columns(summary.machines)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False, padding=(0, 1, 0, 0))
    for number in shown:
        table.add_column(MACHINES[number], overflow="fold", justify="left" if number < WORDS else "right")
    for row in summary.machines:
        cells = machine_cells(row)
        table.add_row(*(Text(cells[number]) for number in shown))
    console.print(table)


def sweep_markdown(summary: SweepSummary) -> str:
    """Write the best conversions, the jobs, the latency of every conversion in each of them, and what failed.

    The best ones come first, without a heading above them: MLflow folds a description to its first lines.
    """
    parts = [f"**{escaped(best(summary))}**", escaped(_title(summary))]
    parts += [markdown_table(HEADINGS, [_cells(row) for row in summary.rows])]
    jobs = [row.what for row in summary.rows if any(row.what in by_job for by_job in summary.latencies.values())]
    if jobs:
        lines = [
            [code(conversion), *(figure(by_job[job]) if job in by_job else "" for job in jobs)]
            for conversion, by_job in summary.latencies.items()
        ]
        parts += ["## Latency in ms", markdown_table(("conversion", *jobs), lines)]
    if summary.machines:
        shown = columns(summary.machines)
        lines = [[escaped(machine_cells(row)[number]) for number in shown] for row in summary.machines]
        parts += ["## Machines", markdown_table([MACHINES[number] for number in shown], lines), MATTER_OF_FACT]
    failed = [(row.what, "", row.problem) for row in summary.rows if row.problem]
    failed += [(each.what, code(each.conversion), f"{each.failure}: {each.message}") for each in summary.failures]
    if failed:
        parts += ["## Failed", markdown_table(("job", "conversion", "reason"), failed)]
    return "\n\n".join(parts) + "\n"


def best(summary: SweepSummary) -> str:
    """Name the best conversion of each job, or, of many jobs, how many each conversion is the best of."""
    rows = [row for row in summary.rows if row.figures]
    if not rows:
        return "Best: none, no job has a valid latency"
    if len(rows) <= MOST_NAMED:
        return "Best: " + "; ".join(f"{row.what}: {row.best}, {_figures(row)}" for row in rows)
    counts = Counter(row.best for row in rows).most_common()
    return "Best: " + ", ".join(f"{name} in {count} of {len(summary.rows)} jobs" for name, count in counts)


def _figures(row: SweepRow) -> str:
    speedup = texts.speedup(row.figures, "eager")
    return f"{texts.latency(row.figures)} ms" + (f" ({speedup} eager)" if speedup not in {"", UNKNOWN} else "")


def _title(summary: SweepSummary) -> str:
    failed = f", {summary.failed_jobs} without a good result" if summary.failed_jobs else ""
    return f"Sweep {summary.sweep.sweep_id}: {len(summary.rows)} jobs{failed}"


def _cells(row: SweepRow) -> tuple[str, ...]:
    counts = (str(row.counts[status] or "") for status in ("ok", "failed", "unavailable"))
    return (
        row.what,
        row.best or ("" if row.problem is None else "-"),
        texts.latency(row.figures),
        texts.speedup(row.figures, "eager"),
        texts.speedup(row.figures, "inductor"),
        texts.sqnr(row.figures),
        *counts,
        "" if row.took_s is None else duration(row.took_s),
    )
