"""Predictions without a measurement: a table, plain data, and a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from almaflow.analysis.wording import figure, names
from almaflow.report.pictures import COLORS, label, new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from almaflow.predict.forecast import Forecast

HEADERS = ("hardware", "conversion", "predictor", "ms", "90% interval", "samples/s", "USD per million", "known error")


def render(forecasts: Sequence[Forecast], console: Console) -> None:
    """Print the predictions, marked as such: a table for each model and batch size."""
    at_best = ", at best (lower bound)" if all(each.is_bound for each in forecasts) else ""
    for model, size in dict.fromkeys((each.model, each.batch_size) for each in forecasts):
        console.print(Text(f"{model}, batch size {size}: predicted, not measured{at_best}", style="bold"))
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        for header in HEADERS:
            table.add_column(header, justify="left" if header in HEADERS[:3] else "right", overflow="fold")
        for each in forecasts:
            if (each.model, each.batch_size) == (model, size):
                table.add_row(*_cells(each))
        console.print(table)
    if bounds := list(dict.fromkeys(each.hardware.name for each in forecasts if each.is_bound)):
        console.print(
            Text(
                f">=: at best, without the time to launch operations, which is not known for {names(bounds)} "
                "(hardware.limits.overhead_us); small models take many times as long"
            )
        )
    priced = {each.hardware.name: each.hardware for each in forecasts if each.hardware.price_per_hour is not None}
    for hardware in priced.values():
        console.print(Text(f"{hardware.name}: {hardware.price_per_hour:g} USD an hour; {hardware.price_source}"))
    if any(each.known is None for each in forecasts):
        console.print(Text("never judged: the store has no measurement on that hardware to compare with"))


def to_dict(each: Forecast) -> dict[str, Any]:
    """Return one prediction as plain data; what is not known is null."""
    prediction, errors = each.prediction, each.known
    return {
        "model": each.model,
        "batch_size": each.batch_size,
        "hardware": each.hardware.name,
        "conversion": each.conversion.name,
        "dtype": each.conversion.dtype,
        "predictor": prediction.predictor,
        "predictor_version": prediction.version,
        "predicted_latency_ms": prediction.latency_ms,
        "lower_bound": each.is_bound,
        "low_ms": prediction.low_ms,
        "high_ms": prediction.high_ms,
        "throughput": each.throughput,
        "energy_j_per_sample": each.energy_j,
        "usd_per_million_samples": each.usd_per_million,
        "known_mean_abs_error_pct": errors.mean_abs_error_pct if errors else None,
        "known_mean_abs_floor_error_pct": errors.mean_abs_floor_error_pct if errors else None,
        "known_conversions": errors.count if errors else 0,
    }


def draw(forecasts: Sequence[Forecast], path: Path) -> None:
    """Draw bars of predicted latencies, one colour for each machine, in the format that the file's name says.

    Raises:
        ValueError: matplotlib writes no such format.
    """
    machines = list(dict.fromkeys(each.hardware.name for each in forecasts))
    colors = dict(zip(machines, [*COLORS.values()] * len(machines), strict=False))
    drawing, axes = new_figure(0.9 + 0.28 * len(forecasts))
    for position, each in enumerate(forecasts):
        value, low, high = each.prediction.latency_ms, each.prediction.low_ms, each.prediction.high_ms
        error = None if low is None or high is None else [[max(value - low, 0)], [max(high - value, 0)]]
        axes.barh(position, value, color=colors[each.hardware.name], xerr=error, ecolor="#333333", capsize=2)
    labels = [
        label(f"{each.hardware.name}  {each.conversion.name}  ({each.prediction.predictor})") for each in forecasts
    ]
    axes.set_yticks(range(len(forecasts)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("predicted ms for one forward call; not measured")
    drawing.savefig(path)


def _cells(each: Forecast) -> list[str]:
    prediction, errors, cost = each.prediction, each.known, each.usd_per_million
    low, high = prediction.low_ms, prediction.high_ms
    interval = "" if low is None or high is None else f"{figure(low)}-{figure(high)}"
    least, most = (">= ", "<= ") if each.is_bound else ("", "")
    return [
        each.hardware.name,
        each.conversion.name,
        prediction.predictor,
        f"{least}{figure(prediction.latency_ms)}",
        interval,
        f"{most}{figure(each.throughput)}",
        "" if cost is None else f"{least}{figure(cost)}",
        "never judged" if errors is None else f"{errors.mean_abs_error_pct:.0f}% of {errors.count}",
    ]
