"""Accuracy over time as a table and as lines of alerts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from almaflow.accuracy.series import Verdict
from almaflow.accuracy.summary import rollups
from almaflow.tracking.uris import display_uri

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from almaflow.accuracy.alerts import Alert
    from almaflow.accuracy.series import Change, Series
    from almaflow.records import ScoredRun
    from almaflow.stats import Figure, Paired

MOST_ROWS = 40
SHOWN_RUNS = 6
COLORS = {Verdict.NEAR: "green", Verdict.NOISE: "green", Verdict.SHORT: "dim"}


def render(all_series: Sequence[Series], console: Console, *, against: str, rate: float, everything: bool) -> None:
    """Print the errors of each predictor, then the series, the most notable first."""
    measured = len({point.run.run_id for series in all_series for point in series.points})
    counts = f"{_plural(len(all_series), 'series')} of {_plural(measured, 'measurement')}"
    console.print(Text(f"{counts}; error in % of the {against}"))
    _summaries(all_series, console)
    shown = sorted(all_series, key=_notable)
    shown = shown if everything else shown[:MOST_ROWS]
    table = _table("series", "n", "now", "error", "|error|", "within 10%", "30 days", "last change", "verdict")
    for series in shown:
        table.add_row(*_cells(series))
    console.print(table)
    if len(shown) < len(all_series):
        console.print(Text(f"{len(all_series) - len(shown)} more series: --all shows them", style="dim"))
    changed = [series for series in shown if series.changes]
    for series in changed:
        last = series.changes[-1]
        text = Text(f"{series.key}, {_day(series, last)}: {last.cause.why}", style="bold" if last.worse else "")
        console.print(text, soft_wrap=True)
    chance = rate * len(all_series)
    console.print(
        Text(
            f"now: points since the last change. Steps: at most {rate:g} of series without one show one by chance, "
            f"{chance:.2g} of these {len(all_series)}.",
            style="dim",
        )
    )


def render_compared(names: tuple[str, str], both: Paired | None, console: Console) -> None:
    """Print which of two predictors is nearer."""
    one, other = names
    if both is None:
        console.print(Text(f"{one} and {other}: no measurement was judged by both"))
        return
    gap = both.difference
    between = f", 95% interval {gap.interval.low:+.1f} to {gap.interval.high:+.1f}" if gap.interval else ""
    sure = f"signed-rank test p = {both.p_value:.2g}" if both.p_value is not None else "too few series for a test"
    console.print(
        Text(
            f"{one} {both.first:.1f}%, {other} {both.second:.1f}% mean absolute error over "
            f"{_plural(both.pairs, 'series')}: {gap.value:+.1f} points{between}; {sure}",
            style="bold",
        )
    )


def render_alerts(alerts: Sequence[Alert], console: Console) -> None:
    """Print the alerts, those that fail in red, each with its runs."""
    for alert in alerts:
        style = "red" if alert.fails else "green"
        console.print(Text(f"{alert.kind}: {alert.message}", style=style), soft_wrap=True)
        more = f" and {len(alert.runs) - SHOWN_RUNS} more" if len(alert.runs) > SHOWN_RUNS else ""
        console.print(Text(f"  runs: {', '.join(alert.runs[:SHOWN_RUNS])}{more}", style="dim"), soft_wrap=True)


def nothing(runs: Sequence[ScoredRun], stores: Sequence[str], *, named: bool) -> str:
    """Tell why there is nothing to show, and what to do.

    Args:
        runs: The measurements that match the filter.
        stores: URIs of the stores that were read.
        named: Whether predictors were asked for by name.
    """
    where = ", ".join(display_uri(uri) for uri in stores)
    if runs and named:
        return f"no measurement of {where} was predicted by what is asked for: almaflow run predictor=NAME"
    if any(run.said for run in runs):
        return f"no job of {where} named a predictor: almaflow run predictor=NAME; --baselines shows those asked always"
    if runs:
        return f"no measurement of {where} was predicted: almaflow run predictor=NAME"
    return f"nothing was measured in {where} that fits: almaflow run predictor=NAME"


def _summaries(all_series: Sequence[Series], console: Console) -> None:
    table = _table("predictor", "conversion", "series", "n", "error", "mean |error|", "median |error|", "within 10%")
    for (predictor, conversion), (count, each) in rollups(all_series, "conversion").items():
        cells = (_span(each.signed, "+.1f"), _span(each.mean_abs), _span(each.median_abs), _share(each.within))
        table.add_row(predictor, conversion, str(count), str(each.count), *cells)
    console.print(table)


def _cells(series: Series) -> list[Text]:
    now, key = series.now, series.key
    change = series.changes[-1] if series.changes else None
    slope = series.trend
    sure = slope is not None and slope.interval is not None and 0 not in slope.interval
    name = f"{key.model_version} b{key.batch_size} {key.conversion} {key.predictor}"
    cells = [
        f"{name} ({key.hardware})",
        str(series.summary.count),
        str(now.count),
        _span(now.signed, "+.1f"),
        _span(now.mean_abs),
        f"{100 * series.summary.within.value:.0f}%",
        f"{slope.value:+.1f}" if slope and sure else "",
        f"{_day(series, change)} {change.cause.kind}" if change else "",
        str(series.verdict),
    ]
    style = COLORS.get(series.verdict, "")
    return [*map(Text, cells[:-1]), Text(cells[-1], style=style)]


def _notable(series: Series) -> tuple[bool, float, str]:
    """Sort key: steps to the worse first, then by the size of the error."""
    worse = bool(series.changes) and series.changes[-1].worse
    return not worse, -series.now.mean_abs.value, str(series.key)


def _day(series: Series, change: Change) -> str:
    return datetime.fromtimestamp(series.points[change.at].run.at, UTC).strftime("%Y-%m-%d")


def _span(each: Figure, form: str = ".1f") -> str:
    middle = f"{each.value:{form}}%"
    return middle if each.interval is None else f"{middle} [{each.interval.low:{form}}, {each.interval.high:{form}}]"


def _share(each: Figure) -> str:
    middle = f"{100 * each.value:.0f}%"
    if each.interval is None:
        return middle
    return f"{middle} [{100 * each.interval.low:.0f}, {100 * each.interval.high:.0f}]"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 or noun == "series" else f"{count} {noun}s"


def _table(*headers: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for header in headers:
        words = header in {"series", "predictor", "conversion", "last change", "verdict"}
        table.add_column(header, justify="left" if words and len(headers) > 1 else "right", overflow="fold")
    return table
