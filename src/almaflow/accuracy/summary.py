"""Accuracy of predictions over time: series of errors, their summaries, and two predictors compared."""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum
from statistics import fmean
from typing import TYPE_CHECKING

from almaflow.accuracy.causes import Moment, cause_of
from almaflow.accuracy.series import Change, Key, Point, Series, Verdict
from almaflow.records.plan import EAGER
from almaflow.stats import (
    FALSE_ALARM_RATE,
    NEAR_PCT,
    SHORTEST,
    ErrorSummary,
    Interval,
    Paired,
    error_pct,
    error_summary,
    paired,
    steps,
    summary_over,
    trend,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from almaflow.records import RecordedPrediction, ScoredRun

DAYS_OF_TREND = 30
SHORTEST_TREND_DAYS = 1.0
"""The shortest series that gets a trend, in days: minutes say nothing about a month."""
SECONDS_PER_DAY = 86_400


class Against(StrEnum):
    """The figure of a measurement that a prediction is compared with."""

    FLOOR = "floor"
    MEDIAN = "median"


def series_of(
    runs: Iterable[ScoredRun], against: Against = Against.FLOOR, false_alarm_rate: float = FALSE_ALARM_RATE
) -> list[Series]:
    """Return all series, in the order of their keys.

    Args:
        runs: The runs in any order; eager's are of use without a prediction too.
        against: The figure that errors are relative to.
        false_alarm_rate: The highest probability with which a series without a step is given one.
    """
    eager: dict[tuple[str, str, int], float] = {}
    points: dict[Key, list[Point]] = defaultdict(list)
    for run in runs:
        if run.conversion == EAGER:
            eager[run.job_run_id, run.model, run.batch_size] = run.floor_ms
        for prediction in run.said:
            points[_key(run, prediction)].append(_point(run, prediction, against))
    return [_series(key, points[key], eager, false_alarm_rate) for key in sorted(points)]


def rollups(all_series: Iterable[Series], by: str) -> dict[tuple[str, str], tuple[int, ErrorSummary]]:
    """Return the number of series and their summary, by predictor and a field of the key, or ``family``; sorted."""
    groups: dict[tuple[str, str], list[ErrorSummary]] = defaultdict(list)
    for each in all_series:
        groups[each.key.predictor, str(getattr(each.key, by))].append(each.summary)
    return {name: (len(groups[name]), summary_over(groups[name])) for name in sorted(groups)}


def compared(all_series: Iterable[Series], first: str, second: str) -> Paired | None:
    """Compare the errors of two predictors over the measurements of both; None where there is none."""
    errors: dict[Key, dict[str, dict[str, float]]] = defaultdict(dict)
    for each in all_series:
        if each.key.predictor in {first, second}:
            same = each.key._replace(predictor="")
            errors[same][each.key.predictor] = {point.run.run_id: abs(point.error) for point in each.points}
    ones, others = [], []
    for both in errors.values():
        shared = both.get(first, {}).keys() & both.get(second, {}).keys()
        if shared:
            ones.append(fmean(both[first][run] for run in shared))
            others.append(fmean(both[second][run] for run in shared))
    return paired(ones, others) if ones else None


def _key(run: ScoredRun, prediction: RecordedPrediction) -> Key:
    return Key(
        run.model, run.hardware, run.conversion, run.batch_size, prediction.predictor, run.dtype, run.threads,
        run.device, run.input_shape, run.machine, run.calls, run.model_digest,
    )  # fmt: skip


def _point(run: ScoredRun, prediction: RecordedPrediction, against: Against) -> Point:
    measured = run.floor_ms if against is Against.FLOOR else run.latency_ms
    error = error_pct(prediction.latency_ms, measured)
    if run.low_ms is None or run.high_ms is None:
        interval = bounds = None
    else:  # the floor has no interval of its own: as much of it as the median's is of the median
        share = measured / run.latency_ms
        interval = Interval(run.low_ms * share, run.high_ms * share)
        bounds = Interval(
            error_pct(prediction.latency_ms, interval.high), error_pct(prediction.latency_ms, interval.low)
        )
    stated = prediction.low_ms is not None and prediction.high_ms is not None
    if interval is None and not stated:
        return Point(run, prediction, measured, error, bounds, None)
    predicted = Interval(prediction.low_ms or prediction.latency_ms, prediction.high_ms or prediction.latency_ms)
    same = predicted.overlaps(interval or Interval(measured, measured))
    return Point(run, prediction, measured, error, bounds, same)


def _series(key: Key, points: list[Point], eager: dict[tuple[str, str, int], float], false_alarm_rate: float) -> Series:
    points.sort(key=lambda point: (point.run.at, point.run.run_id))
    errors = [point.error for point in points]
    changes: tuple[Change, ...] = ()
    if len(points) >= 2 * SHORTEST:
        moments = [
            Moment(
                point.said.latency_ms,
                point.measured_ms,
                point.run.control_ms,
                None if key.conversion == EAGER else eager.get((point.run.job_run_id, key.model, key.batch_size)),
                point.said.version,
                point.run.environment,
                point.run.others_cpus,
            )
            for point in points
        ]
        changes = tuple(_changes(errors, moments, false_alarm_rate))
    summary = error_summary(errors)
    now = error_summary(errors[changes[-1].at :]) if changes else summary
    current = points[changes[-1].at if changes else 0 :]
    days = [point.run.at / SECONDS_PER_DAY / DAYS_OF_TREND for point in current]
    long = days[-1] - days[0] >= SHORTEST_TREND_DAYS / DAYS_OF_TREND
    slope = trend([abs(point.error) for point in current], days) if long else None
    return Series(key, tuple(points), summary, now, changes, slope, _verdict(current, now))


def _changes(errors: Sequence[float], moments: Sequence[Moment], false_alarm_rate: float) -> Iterable[Change]:
    """Yield steps in the logarithms of predicted over measured, to which half and double are equally wrong."""
    changes = steps([moment.log_ratio for moment in moments], false_alarm_rate)
    ends = [0, *(step.at for step in changes), len(errors)]
    for start, step, end in zip(ends, changes, ends[2:], strict=False):
        cause = cause_of(moments[start : step.at], moments[step.at : end])
        before, after = fmean(errors[start : step.at]), fmean(errors[step.at : end])
        yield Change(step.at, before, after, step.p_value, cause)


def _verdict(current: Sequence[Point], now: ErrorSummary) -> Verdict:
    if len(current) < SHORTEST:
        return Verdict.SHORT
    if now.mean_abs.value <= NEAR_PCT:
        return Verdict.NEAR
    signed = now.signed.interval
    if signed is not None and 0 not in signed:
        return Verdict.HIGH if now.signed.value > 0 else Verdict.LOW
    most = fmean(point.within_noise is True for point in current) > 0.5  # noqa: PLR2004 - most of them
    return Verdict.NOISE if most else Verdict.SCATTERED
