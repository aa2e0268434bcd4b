"""The table of a job's result from what ``output=FILE.json`` holds, for jobs whose records are not at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from almaflow.analysis.choose import candidates_of
from almaflow.analysis.wording import figure, names
from almaflow.report import cells
from almaflow.report.choice import choice_in, chosen, front_explained, marked, reasons
from almaflow.report.marks import marks_explained

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console

WIDE = 110
"""Columns of a terminal on which the table has all of its columns."""


def render_result(output: Mapping[str, Any], console: Console, *, tracebacks: bool = False) -> None:
    """Print the conversions by latency, then those without one and why, and the best one."""
    title = f"{output['model']} on {output['hardware']}, batch size {output['batch_size']}, job {output['job_id']}"
    console.print(Text(title, style="bold"))
    # A latency that does not count has no entry: see HEADLINES.
    counting = [each for each in output["conversions"] if each.get("latency_ms") is not None]
    shown = sorted(counting, key=lambda each: each["latency_ms"])
    console.print(_table(shown, output["pareto"], wide=console.width >= WIDE))
    front = front_explained(output["pareto"], candidates_of(output))
    for told in (*marks_explained(counting), *front, *output["warnings"]):
        console.print(Text(told))
    for each in output["conversions"]:
        if each.get("latency_ms") is None:
            console.print(Text(f"  {each['conversion']}: {each['failure'] or each['status']}"))
            console.print(Padding(Text(cells.first_line(each["message"])), (0, 0, 0, 6)))
            if tracebacks and each.get("traceback"):
                console.print(Padding(Text(each["traceback"]), (0, 0, 0, 6)))
    console.print(Text(_best(output), style="bold"))
    if choice := choice_in(output):
        console.print(Text(chosen(choice), style="bold"))
        for name, reason in reasons(choice):
            console.print(Padding(Text(f"{name}: {reason}"), (0, 0, 0, 2)))


def _best(output: Mapping[str, Any]) -> str:
    if output["best_conversion"] is None:
        return "Best: none, no conversion has a valid latency"
    tied = f"; tied with {names(output['tied_with_best'])}" if output["tied_with_best"] else ""
    unclear = output["unclear_beside_best"]
    unknown = f"; not known to be faster than {names(unclear)}" if unclear else ""
    return f"Best: {output['best_conversion']}, {figure(output['best_latency_ms'])} ms{tied}{unknown}"


def _table(entries: list[Mapping[str, Any]], front: Sequence[str], *, wide: bool) -> Table:
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "ms": cells.latency,
        **({"95% interval": cells.interval, "samples/s": cells.throughput} if wide else {}),
        "vs eager": lambda each: cells.speedup(each, "eager"),
        "vs inductor": lambda each: cells.speedup(each, "inductor"),
        "fidelity": cells.sqnr,
    }
    if evaluated := cells.quality_name(entries):
        columns[evaluated] = cells.quality
    if any(each.get("prediction_error_pct") is not None for each in entries):
        columns["pred. error"] = cells.error
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("conversion", overflow="fold")
    for header in columns:
        table.add_column(header, justify="right", no_wrap=True)
    for each in entries:
        name = marked(each["conversion"], front)
        table.add_row(*map(Text, (name, *(text(each) for text in columns.values()))))
    return table
