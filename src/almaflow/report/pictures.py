"""Pictures of a job, as SVG: latency by conversion, and latency against fidelity or quality."""

from __future__ import annotations

import math
import re
from io import StringIO
from typing import TYPE_CHECKING, Any

from almaflow.analysis.metric_names import more_is_better, value_of
from almaflow.analysis.pareto import FIDELITY, accuracy_metric
from almaflow.report.labels import name_points
from almaflow.secrets import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind people can tell apart (jfly.uni-koeln.de/color).
COLORS = {"32 bits": "#0072B2", "16 bits": "#E69F00", "8 bits": "#009E73", "fewer": "#CC79A7"}
BETWEEN = ((0.7, (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)), (1.5, (1, 2, 3, 5)), (3.0, (1, 3)), (math.inf, (1,)))
"""Multiples of powers of ten that a logarithmic axis is labelled at, by the most decades that it spans."""
MOST_BARS = 30
MOST_NAMES = 12
LEAST_DB = 40.0
"""Decibels that a picture shows at least, so that noise does not look like a difference."""
EQUAL_DB = 160.0
"""Height at which an output equal to eager's is drawn: beyond what float32 keeps."""


def latency_bars(entries: Sequence[Mapping[str, Any]]) -> str:
    """Draw medians with their intervals, the fastest on top; ``entries`` are those of ``output=FILE.json``."""
    shown = _timed(entries)[:MOST_BARS]
    figure, axes = new_figure(0.8 + 0.3 * len(shown))
    for position, each in enumerate(shown):
        value = each["latency_ms"]
        low, high = each.get("latency/ci_low", value), each.get("latency/ci_high", value)
        error = [[max(value - low, 0)], [max(high - value, 0)]]
        axes.barh(position, value, color=COLORS[_width(each)], xerr=error, ecolor="#333333", capsize=2, height=0.7)
    axes.set_yticks(range(len(shown)), [label(each["conversion"]) for each in shown], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("ms for one forward call, with the 95% interval of the median")
    _legend(axes, shown)
    return as_svg(figure)


def latency_against_accuracy(
    entries: Sequence[Mapping[str, Any]], front: Collection[str] = (), lower_is_better: Collection[str] = ()
) -> str:
    """Draw a point for each conversion that counts: left is faster, up is nearer to eager's output, or better.

    The height is the quality where it was evaluated, else the SQNR against eager. Those on the Pareto front have a
    ring, and steps lead from one to the next that is slower and more accurate. Nothing is drawn, and the text is empty,
    where no accuracy is known.

    Args:
        entries: Those of ``output=FILE.json``.
        front: Names of the conversions on the front.
        lower_is_better: Figures of quality of which less is better although their names do not say so.
    """
    accuracy = accuracy_metric({each["conversion"]: each for each in _timed(entries)})
    in_decibels = accuracy == FIDELITY
    known = [(each, height) for each in _timed(entries) if (height := value_of(each, accuracy)) is not None]
    if not known:
        return ""
    shown = [each for each, _ in known]
    figure, axes = new_figure(3.4)
    most = EQUAL_DB if in_decibels else math.inf
    points = [(each["latency_ms"], min(height, most), label(each["conversion"])) for each, height in known]
    for each, (latency_ms, height, _) in zip(shown, points, strict=True):
        on_it = each["conversion"] in front
        edge, width = ("#333333", 1.2) if on_it else ("white", 0.5)
        color = COLORS[_width(each)]
        axes.scatter(latency_ms, height, color=color, s=36, zorder=3, edgecolor=edge, linewidth=width)
    axes.set_xscale("log")
    plain_numbers(axes.xaxis)
    axes.margins(x=0.12)
    axes.set_xlabel("ms for one forward call")
    axes.set_ylabel("SQNR against eager, dB" if in_decibels else accuracy)
    if in_decibels:
        _decibel_axis(axes, [at[1] for at in points])
    on_front = [at for each, at in zip(shown, points, strict=True) if each["conversion"] in front]
    _steps(axes, on_front, upwards=more_is_better(accuracy, lower_is_better))
    axes.grid(alpha=0.3)
    _legend(axes, shown, above=True)
    name_points(axes, [*on_front, *(at for at in points if at not in on_front)][:MOST_NAMES])
    return as_svg(figure)


def _decibel_axis(axes: Axes, heights: Sequence[float]) -> None:
    from matplotlib.ticker import MultipleLocator

    low, high = min(heights), max(heights)
    axes.set_ylim(min(low, high - LEAST_DB) - 10, high + 10)
    axes.yaxis.set_major_locator(MultipleLocator(20))
    axes.yaxis.set_major_formatter(lambda value, _: "equal" if value == EQUAL_DB else f"{value:g}")


def _steps(axes: Axes, on_front: Sequence[tuple[float, float, str]], *, upwards: bool) -> None:
    """Draw the front in the plane: each step leads to the next point that is slower and more accurate."""
    sign = 1 if upwards else -1
    corners: list[tuple[float, float]] = []
    for latency_ms, height, _ in sorted(on_front):
        if not corners or sign * height > sign * corners[-1][1]:
            corners.append((latency_ms, height))
    if len(corners) > 1:
        axes.step(*zip(*corners, strict=True), where="post", color="#999999", linewidth=1, zorder=2)


def plain_numbers(axis: Axis) -> None:
    """Write the numbers of a logarithmic axis as people do: 100 and 200, not 10^2; some of them where they are many."""
    from matplotlib.ticker import LogLocator

    low, high = sorted(axis.get_view_interval())
    decades = math.log10(high / low)
    between = next(subs for limit, subs in BETWEEN if decades < limit)
    axis.set_major_locator(LogLocator(subs=between))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")


def _timed(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted((each for each in entries if each["latency_ms"] is not None), key=lambda each: each["latency_ms"])


def _width(entry: Mapping[str, Any]) -> str:
    """Return the key of ``COLORS`` for the width of the numbers that the conversion computes with."""
    digits = re.search(r"\d+", entry["dtype"])
    bits = int(digits[0]) if digits else 32
    return next((name for name in COLORS if name.startswith(f"{bits} ")), "fewer")


def label(text: str) -> str:
    """Return a text as matplotlib draws it as it is: between two dollar signs it would read mathematics."""
    return printable(text).replace("$", r"\$")


def new_figure(height: float) -> tuple[Figure, Axes]:
    """Return a drawing 9 inches wide and ``height`` inches high, without the frame above and to the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _legend(axes: Axes, shown: Sequence[Mapping[str, Any]], *, above: bool = False) -> None:
    from matplotlib.patches import Patch

    widths = {_width(each) for each in shown}
    handles = [Patch(color=color, label=name) for name, color in COLORS.items() if name in widths]
    if handles:
        place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": len(COLORS)} if above else {}
        axes.legend(handles=handles, fontsize=8, frameon=False, **place)


def as_svg(figure: Figure) -> str:
    """Return the picture for a page, without XML head and metadata: equal figures give equal text."""
    from matplotlib import rc_context

    text = StringIO()
    with rc_context({"svg.hashsalt": "almaflow", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    _, tag, body = text.getvalue().partition("<svg")
    return re.sub(r"\s*<metadata>.*?</metadata>", "", tag + body, flags=re.DOTALL)
