"""Accuracy over time as a table and as lines of alerts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

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
    from almaflow.stats import ErrorSummary, Figure, Paired

MOST_ROWS = 40
SHOWN_RUNS = 6
GAP = "  "
COLORS = {Verdict.NEAR: "green", Verdict.NOISE: "green", Verdict.SHORT: "dim"}


def render(all_series: Sequence[Series], console: Console, *, against: str, everything: bool) -> None:
    """Print the errors of each predictor, then the series, the most notable first, and why their errors changed."""
    measured = len({point.run.run_id for series in all_series for point in series.points})
    counts = f"{_plural(len(all_series), 'series')} of {_plural(measured, 'measurement')}"
    console.print(Text(f"{counts}; error in % of the {against}"))
    _print(
        console,
        ("predictor", "conversion"),
        ("series", "n", "error", "mean |error|", "median |error|", "within 10%"),
        [
            (Text(f"{predictor}  {conversion}"), (str(count), str(each.count), *_summary(each)))
            for (predictor, conversion), (count, each) in rollups(all_series, "conversion").items()
        ],
    )
    shown = sorted(all_series, key=_notable)
    shown = shown if everything else shown[:MOST_ROWS]
    _print(
        console,
        ("series", "verdict"),
        ("n", "now", "error", "|error|", "within 10%", "in interval", "30 days"),
        [(_title(series), _figures(series)) for series in shown],
    )
    if len(shown) < len(all_series):
        console.print(Text(f"{len(all_series) - len(shown)} more series: --all shows them", style="dim"))
    for series in (series for series in shown if series.changes):
        last = series.changes[-1]
        text = Text(f"{series.key}, {_day(series, last)}: {last.cause.why}", style="bold" if last.worse else "")
        console.print(text, soft_wrap=True)


def render_compared(names: tuple[str, str], both: Paired | None, console: Console) -> None:
    """Print which of two predictors is nearer."""
    one, other = names
    if both is None:
        console.print(Text(f"{one} and {other}: no measurement was predicted by both"))
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


def _print(
    console: Console, names: Sequence[str], headers: Sequence[str], rows: Sequence[tuple[Text, Sequence[str]]]
) -> None:
    """Print figures in columns: behind the row's title where that fits the terminal, else on a line of their own."""
    head = Text("  ".join(names), style="bold")
    widths = [max(map(len, column)) for column in zip(headers, *(figures for _, figures in rows), strict=True)]
    before = max(len(title) for title in (head, *(title for title, _ in rows)))
    aligned = sum(widths) + len(GAP) * len(widths) + before <= console.width
    for title, figures in ((head, headers), *rows):
        line = GAP.join(text.rjust(width) for text, width in zip(figures, widths, strict=True))
        style = "bold" if title is head else ""
        if aligned:
            console.print(title + Text(" " * (before - len(title))) + Text(f"{GAP}{line}".rstrip(), style))
        else:
            console.print(title, soft_wrap=True)
            console.print(Text(f"{GAP}{line}".rstrip(), style), soft_wrap=True)
    console.print()


def _title(series: Series) -> Text:
    key = series.key
    name = f"{key.model_version} b{key.batch_size} {key.conversion} {key.predictor} ({key.hardware})"
    return Text(f"{name}: ") + Text(str(series.verdict), style=COLORS.get(series.verdict, ""))


def _figures(series: Series) -> tuple[str, ...]:
    now, slope = series.now, series.trend
    sure = slope is not None and slope.interval is not None and 0 not in slope.interval
    return (
        str(series.summary.count),
        str(now.count),
        _span(now.signed, "+.1f"),
        f"{now.mean_abs.value:.1f}%",
        f"{100 * now.within.value:.0f}%",
        "" if series.inside is None else f"{100 * series.inside:.0f}%",
        f"{slope.value:+.1f}" if slope and sure else "",
    )


def _summary(each: ErrorSummary) -> tuple[str, ...]:
    return _span(each.signed, "+.1f"), _span(each.mean_abs), _span(each.median_abs), _share(each.within)


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
