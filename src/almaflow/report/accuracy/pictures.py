"""Pictures of accuracy over time: the error of a series, predicted against measured, and all models by conversion."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from almaflow.report.pictures import as_svg, label, new_figure
from almaflow.stats import NEAR_PCT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from almaflow.accuracy.series import Series

# Okabe and Ito's colours, which colour-blind people can tell apart (jfly.uni-koeln.de/color); with another mark each.
STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"), ("#56B4E9", "P"))
BAND = "#009E73"
LINE = "#D55E00"
MOST_PANELS = 12
REASON_LENGTH = 150
MOST_ROWS = 40
LIMIT_PCT = 50.0
"""Error at which the colours of the heat map end."""
DARK_PCT = 32.0
"""Error from which on a cell is so dark that its figure is white."""


def error_over_time(series: Series) -> str:
    """Draw one series as SVG: see ``panel``."""
    figure, axes = new_figure(2.6)
    panel(axes, series)
    return as_svg(figure)


def predicted_against_measured(all_series: Sequence[Series]) -> str:
    """Draw the newest point of every series as SVG: see ``scatter``."""
    figure, axes = new_figure(5.5)
    scatter(axes, all_series)
    return as_svg(figure)


def heat_map(all_series: Sequence[Series], predictor: str) -> str:
    """Draw the errors of one predictor as SVG: see ``heat``."""
    figure, axes = new_figure(1.2 + 0.3 * len({_row(each) for each in all_series if each.key.predictor == predictor}))
    heat(axes, [each for each in all_series if each.key.predictor == predictor])
    return as_svg(figure)


def draw(all_series: Sequence[Series], path: Path) -> None:
    """Draw predicted against measured, and the error over time of the most notable series, into one file.

    Raises:
        OSError: the file cannot be written.
        ValueError: matplotlib writes no such format.
    """
    shown = notable(all_series)[:4]
    figure, axes = _tall(len(shown))
    scatter(axes[0], all_series)
    for below, series in zip(axes[1:], shown, strict=True):
        panel(below, series)
    figure.savefig(path)


def notable(all_series: Sequence[Series]) -> list[Series]:
    """Sort the series: those with the latest steps first, then the longest ones."""
    return sorted(
        all_series,
        key=lambda each: (-(each.points[each.changes[-1].at].run.at if each.changes else 0), -len(each.points)),
    )


def panel(axes: Axes, series: Series) -> None:
    """Draw the error over time with the measurement's interval, the 10% band, and steps with their causes."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

    times = [datetime.fromtimestamp(point.run.at, UTC) for point in series.points]
    at = [float(each) for each in date2num(times)]  # type: ignore[no-untyped-call]
    errors = [point.error for point in series.points]
    below, above = [], []
    for point in series.points:
        below.append(max(point.error - point.bounds.low, 0) if point.bounds else 0)
        above.append(max(point.bounds.high - point.error, 0) if point.bounds else 0)
    axes.axhspan(-NEAR_PCT, NEAR_PCT, color=BAND, alpha=0.12, linewidth=0)
    axes.axhline(0, color="#333333", linewidth=0.8)
    color, mark = STYLES[0]
    axes.errorbar(at, errors, [below, above], fmt=mark, color=color, markersize=4, elinewidth=0.8, linewidth=0.8)
    ends = [0, *(change.at for change in series.changes), len(at)]
    levels = [series.changes[0].before_pct, *(c.after_pct for c in series.changes)] if series.changes else []
    for level, start, end in zip(levels, ends, ends[1:], strict=False):
        axes.hlines(level, at[start], at[end - 1], color="#333333", linewidth=1.2)
    for change in series.changes:
        between = (at[change.at - 1] + at[change.at]) / 2
        axes.axvline(between, color=LINE, linestyle="--", linewidth=1)
        axes.annotate(
            change.cause.kind, (between, 1), (3, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
            fontsize=8, va="top", color=LINE,
        )  # fmt: skip
    if series.changes:
        reasons = [f"{times[each.at]:%Y-%m-%d}: {each.cause.why}" for each in series.changes]
        text = "\n".join(textwrap.shorten(each, REASON_LENGTH, placeholder=" ...") for each in reasons)
        axes.set_xlabel(label(text), fontsize=7, loc="left", color=LINE)
    locator = AutoDateLocator(maxticks=8)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set_ylabel("error, %")
    axes.set_title(label(str(series.key)), fontsize=9, loc="left")
    axes.tick_params(labelsize=8)


def scatter(axes: Axes, all_series: Sequence[Series]) -> None:
    """Draw the newest point of each series, coloured by predictor, and the band of errors within 10%."""
    predictors = list(dict.fromkeys(series.key.predictor for series in all_series))
    every = []
    for number, predictor in enumerate(predictors):
        color, mark = STYLES[number % len(STYLES)]
        newest = [series.points[-1] for series in all_series if series.key.predictor == predictor]
        measured, predicted = [p.measured_ms for p in newest], [p.said.latency_ms for p in newest]
        axes.scatter(
            measured,
            predicted,
            s=28,
            color=color,
            marker=mark,
            edgecolor="white",
            linewidth=0.4,
            label=label(predictor),
        )
        every += measured + predicted
    ends = [0.8 * min(every), 1.25 * max(every)]
    axes.plot(ends, ends, color="#333333", linewidth=0.8)
    lower, upper = ([end * (1 + sign * NEAR_PCT / 100) for end in ends] for sign in (-1, 1))
    axes.fill_between(ends, lower, upper, color=BAND, alpha=0.15, linewidth=0, label="within 10%")
    axes.set(xscale="log", yscale="log", xlabel="measured, ms", ylabel="predicted, ms")
    for axis in (axes.xaxis, axes.yaxis):  # 20, not 2 x 10^1
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}")
        axis.set_tick_params(which="both", labelsize=8)
    axes.legend(fontsize=8, frameon=False)


def heat(axes: Axes, all_series: Sequence[Series]) -> None:
    """Draw the mean signed error since the last change, models by conversions; too high is orange, too low violet."""
    rows = sorted({_row(series) for series in all_series})[:MOST_ROWS]
    columns = sorted({series.key.conversion for series in all_series})
    cells = {(_row(series), series.key.conversion): series.now.signed.value for series in all_series}
    grid = [[cells.get((row, column), float("nan")) for column in columns] for row in rows]
    axes.imshow(grid, cmap="PuOr_r", vmin=-LIMIT_PCT, vmax=LIMIT_PCT, aspect="auto")
    for y, line in enumerate(grid):
        for x, value in enumerate(line):
            if value == value:  # noqa: PLR0124 - not NaN
                color = "white" if abs(value) > DARK_PCT else "black"
                axes.text(x, y, f"{value:+.0f}%", ha="center", va="center", fontsize=8, color=color)
    axes.set_xticks(range(len(columns)), list(map(label, columns)), fontsize=8)
    axes.set_yticks(range(len(rows)), list(map(label, rows)), fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _row(series: Series) -> str:
    return f"{series.key.model_version} b{series.key.batch_size} {series.key.hardware}"


def _tall(panels: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5 + 2.4 * panels), layout="constrained")
    axes = figure.subplots(1 + panels, 1, height_ratios=[4.5, *[2.4] * panels], squeeze=False)[:, 0]
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)
