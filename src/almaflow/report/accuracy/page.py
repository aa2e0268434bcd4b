"""Accuracy over time as one HTML file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from almaflow.accuracy.summary import rollups
from almaflow.report.accuracy.pictures import (
    MOST_PANELS,
    error_over_time,
    heat_map,
    notable,
    predicted_against_measured,
)
from almaflow.report.html_page import template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.accuracy.series import Series
    from almaflow.stats import ErrorSummary


def page(all_series: Sequence[Series], against: str) -> str:
    """Render the page: the errors of each predictor, what changed and why, and the pictures.

    Args:
        all_series: At least one series.
        against: The figure that errors are relative to.
    """
    changes = sorted(
        ((series, change) for series in all_series for change in series.changes),
        key=lambda pair: -pair[0].points[pair[1].at].run.at,
    )
    predictors = list(dict.fromkeys(series.key.predictor for series in all_series))
    times = [point.run.at for series in all_series for point in series.points]
    return template("accuracy.html").render(
        against=against,
        series=len(all_series),
        first=_day(min(times)),
        last=_day(max(times)),
        rollups=[
            {"predictor": predictor, "conversion": conversion, "series": count} | _summary(summary)
            for (predictor, conversion), (count, summary) in rollups(all_series, "conversion").items()
        ],
        changes=[
            {
                "day": _day(series.points[change.at].run.at),
                "series": str(series.key),
                "before": f"{change.before_pct:+.1f}%",
                "after": f"{change.after_pct:+.1f}%",
                "worse": change.worse,
                "cause": change.cause.kind,
                "why": change.cause.why,
            }
            for series, change in changes
        ],
        heat_maps=[(predictor, heat_map(all_series, predictor)) for predictor in predictors],
        scatter=predicted_against_measured(all_series),
        panels=[error_over_time(series) for series in notable(all_series)[:MOST_PANELS]],
    )


def _summary(each: ErrorSummary) -> dict[str, Any]:
    interval = each.mean_abs.interval
    return {
        "n": each.count,
        "signed": f"{each.signed.value:+.1f}%",
        "mean": f"{each.mean_abs.value:.1f}%",
        "between": f"{interval.low:.1f} to {interval.high:.1f}" if interval else "",
        "median": f"{each.median_abs.value:.1f}%",
        "within": f"{100 * each.within.value:.0f}%",
    }


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
