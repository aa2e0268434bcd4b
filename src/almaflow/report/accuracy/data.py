"""Accuracy over time as plain data, for ``--json``: docs/accuracy.md has the keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from almaflow.accuracy.summary import rollups
from almaflow.tracking.uris import display_uri

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.accuracy.alerts import Alert
    from almaflow.accuracy.series import Change, Series
    from almaflow.accuracy.summary import Against
    from almaflow.stats import ErrorSummary, Figure, Paired

SCHEMA = 1
"""Version of the keys: raised when a key goes or changes its meaning, not when one is added."""
ROLLUPS = ("conversion", "hardware", "family")


def to_dict(  # noqa: PLR0913, PLR0917 - what there is to tell
    all_series: Sequence[Series],
    alerts: Sequence[Alert],
    stores: Sequence[str],
    against: Against,
    rate: float,
    compared: tuple[tuple[str, str] | None, Paired | None],
) -> dict[str, Any]:
    """Return series, rollups, the comparison and alerts as plain data."""
    names, both = compared
    return {
        "schema": SCHEMA,
        "stores": [display_uri(uri) for uri in stores],
        "against": str(against),
        "false_alarm_rate": rate,
        "series": [_series(each) for each in all_series],
        "rollups": [
            {"predictor": predictor, field: name, "series": count} | _summary(summary)
            for field in ROLLUPS
            for (predictor, name), (count, summary) in rollups(all_series, field).items()
        ],
        "compared": None
        if names is None or both is None
        else {
            "predictors": list(names),
            "series": both.pairs,
            "mean_abs_error_pct": [both.first, both.second],
            "difference_pct": _figure(both.difference),
            "p_value": both.p_value,
        },
        "alerts": [
            {"kind": each.kind, "fails": each.fails, "message": each.message, "runs": list(each.runs)}
            for each in alerts
        ],
    }


def _series(each: Series) -> dict[str, Any]:
    return each.key._asdict() | {
        "family": each.key.family,
        "named": each.named,
        "first_at": _moment(each.points[0].run.at),
        "last_at": _moment(each.points[-1].run.at),
        "versions": list(dict.fromkeys(point.said.version for point in each.points)),
        **_summary(each.summary),
        "now": _summary(each.now),
        "trend_pct_per_30_days": _figure(each.trend) if each.trend else None,
        "verdict": str(each.verdict),
        "inside_own_interval": each.inside,
        "within_noise": sum(point.within_noise is True for point in each.points),
        "changes": [_change(each, change) for change in each.changes],
        "points": [
            {
                "run_id": point.run.run_id,
                "at": _moment(point.run.at),
                "predicted_ms": point.said.latency_ms,
                "measured_ms": point.measured_ms,
                "error_pct": point.error,
                "within_noise": point.within_noise,
                "predictor_version": point.said.version,
            }
            for point in each.points
        ],
    }


def _change(series: Series, change: Change) -> dict[str, Any]:
    cause = change.cause
    return {
        "at": _moment(series.points[change.at].run.at),
        "run_id": series.points[change.at].run.run_id,
        "run_id_before": series.points[change.at - 1].run.run_id,
        "before_pct": change.before_pct,
        "after_pct": change.after_pct,
        "worse": change.worse,
        "p_value": change.p_value,
        "cause": cause.kind,
        "why": cause.why,
        "predicted_move_pct": cause.predicted_pct,
        "measured_move_pct": cause.measured_pct,
        "control_move_pct": cause.control_pct,
        "eager_move_pct": cause.eager_pct,
        "others_cpus": None if cause.others_cpus is None else list(cause.others_cpus),
        "environment": {name: list(values) for name, values in cause.environment.items()},
        "predictor_versions": [list(side) for side in cause.versions],
    }


def _summary(each: ErrorSummary) -> dict[str, Any]:
    return {
        "n": each.count,
        "error_pct": _figure(each.signed),
        "mean_abs_error_pct": _figure(each.mean_abs),
        "median_abs_error_pct": _figure(each.median_abs),
        "within_10_pct": _figure(each.within),
    }


def _figure(each: Figure) -> dict[str, float | None]:
    low, high = (each.interval.low, each.interval.high) if each.interval else (None, None)
    return {"value": each.value, "low": low, "high": high}


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
