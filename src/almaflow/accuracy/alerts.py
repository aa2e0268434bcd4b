"""Alerts about a predictor's accuracy, by which CI can fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from almaflow.stats import SHORTEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from almaflow.accuracy.series import Point, Series

RECENT = 10
"""The number of points behind a step after which the step is no news any more."""


@dataclass(frozen=True)
class Alert:
    """One line of news about one series."""

    series: Series
    kind: str
    """``above``, ``regression``, or ``improvement``, which never fails."""
    message: str
    runs: tuple[str, ...]
    """The IDs of the runs before and behind the step, or of those above the limit."""

    @property
    def fails(self) -> bool:
        """Whether a command that was told to fail by alerts fails by this one."""
        return self.kind != "improvement"


def alerts(
    all_series: Iterable[Series], above_pct: float | None = None, recent: int = RECENT, *, regressions: bool = False
) -> Iterator[Alert]:
    """Yield the alerts, in the order of the series.

    Args:
        all_series: The series to look at.
        above_pct: The limit of the mean absolute error since the last change, in percent. Of one or two points, each
            has to be above it with the whole interval of its measurement.
        recent: The number of points that may lie behind a step that is still shown.
        regressions: Whether steps are alerts too; an improvement is one then, and where it came below the limit.
    """
    for series in all_series:
        if above_pct is not None and (over := _above(series, above_pct)):
            size, runs = series.now.mean_abs.value, tuple(point.run.run_id for point in over)
            message = f"{series.key}: {size:.1f}% off over {_count(len(runs))}, the limit is {above_pct:g}%"
            yield Alert(series, "above", message, runs)
        change = series.changes[-1] if series.changes else None
        if change is None or len(series.points) - change.at > recent:
            continue
        passed = above_pct is not None and abs(change.after_pct) <= above_pct < abs(change.before_pct)
        if not regressions and not passed:
            continue
        kind = "regression" if change.worse else "improvement"
        runs = series.points[change.at - 1].run.run_id, series.points[change.at].run.run_id
        step = f"error {change.before_pct:+.1f}% → {change.after_pct:+.1f}%"
        yield Alert(series, kind, f"{series.key}: {step}; {change.cause.why}", runs)


def _above(series: Series, limit: float) -> list[Point]:
    points = list(series.current)
    if len(points) >= SHORTEST:
        return points if series.now.mean_abs.value > limit else []
    return points if all(_least(point) > limit for point in points) else []


def _least(point: Point) -> float:
    """Return the smallest absolute error that the measurement's interval leaves."""
    if point.bounds is None:
        return abs(point.error)
    return 0.0 if 0 in point.bounds else min(abs(point.bounds.low), abs(point.bounds.high))


def _count(number: int) -> str:
    return f"{number} run" if number == 1 else f"{number} runs"
