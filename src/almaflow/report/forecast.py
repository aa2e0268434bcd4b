"""Predictions without a measurement: a table, plain data, and a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from almaflow.analysis.wording import figure
from almaflow.report.pictures import COLORS, new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from almaflow.predict.forecast import Forecast

HEADERS = ("hardware", "conversion", "predictor", "ms", "90% interval", "samples/s", "USD per million", "known error")


def render(found: Sequence[Forecast], console: Console) -> None:
    """Print what is predicted, marked as such: a table for each model and batch size."""
    for model, size in dict.fromkeys((each.model, each.batch_size) for each in found):
        console.print(Text(f"{model}, batch size {size}: predicted, not measured", style="bold"))
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        for header in HEADERS:
            table.add_column(header, justify="left" if header in HEADERS[:3] else "right", overflow="fold")
        for each in found:
            if (each.model, each.batch_size) == (model, size):
                table.add_row(*_cells(each))
        console.print(table)
    priced = {each.hardware.name: each.hardware for each in found if each.hardware.price_per_hour is not None}
    for hardware in priced.values():
        console.print(Text(f"{hardware.name}: {hardware.price_per_hour:g} USD an hour; {hardware.price_source}"))
    if any(each.known is None for each in found):
        console.print(Text("never judged: the store has no measurement on that hardware to judge the predictor by"))


def to_dict(each: Forecast) -> dict[str, Any]:
    """One prediction as plain data; what is not known is null."""
    made, known = each.prediction, each.known
    return {
        "model": each.model,
        "batch_size": each.batch_size,
        "hardware": each.hardware.name,
        "conversion": each.conversion.name,
        "dtype": each.conversion.dtype,
        "predictor": made.predictor,
        "predictor_version": made.version,
        "predicted_latency_ms": made.latency_ms,
        "low_ms": made.low_ms,
        "high_ms": made.high_ms,
        "throughput": each.throughput,
        "energy_j_per_sample": each.energy_j,
        "usd_per_million_samples": each.usd_per_million,
        "known_mean_abs_error_pct": known.mean_abs_error_pct if known else None,
        "known_mean_abs_floor_error_pct": known.mean_abs_floor_error_pct if known else None,
        "known_conversions": known.count if known else 0,
    }


def draw(found: Sequence[Forecast], path: Path) -> None:
    """Bars of predicted latencies, one colour for each machine, in the format that the file's name says.

    Raises:
        ValueError: matplotlib writes no such format.
    """
    machines = list(dict.fromkeys(each.hardware.name for each in found))
    colors = dict(zip(machines, [*COLORS.values()] * len(machines), strict=False))
    drawing, axes = new_figure(0.9 + 0.28 * len(found))
    for place, each in enumerate(found):
        made = each.prediction
        error = None
        if made.low_ms is not None and made.high_ms is not None:
            error = [[max(made.latency_ms - made.low_ms, 0)], [max(made.high_ms - made.latency_ms, 0)]]
        axes.barh(place, made.latency_ms, color=colors[each.hardware.name], xerr=error, ecolor="#333333", capsize=2)
    names = [f"{each.hardware.name}  {each.conversion.name}  ({each.prediction.predictor})" for each in found]
    axes.set_yticks(range(len(found)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("predicted ms for one forward call; not measured")
    drawing.savefig(path)


def _cells(each: Forecast) -> list[str]:
    made, known, cost = each.prediction, each.known, each.usd_per_million
    interval = "" if made.low_ms is None or made.high_ms is None else f"{figure(made.low_ms)}-{figure(made.high_ms)}"
    return [
        each.hardware.name,
        each.conversion.name,
        made.predictor,
        figure(made.latency_ms),
        interval,
        figure(each.throughput),
        "" if cost is None else figure(cost),
        "never judged" if known is None else f"{known.mean_abs_error_pct:.0f}% of {known.count}",
    ]
