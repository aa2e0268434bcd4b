"""Write each series of errors as a run of its own, with the error as a metric over time, which MLflow plots.

The step of a point is the second of its measurement. MLflow keeps a metric's value once for each step, time and value,
so that writing a point twice leaves one. A process that was ended halfway is finished by the next one, and two at once
write the same. Where both create the run of a new series, the run with the smaller ID stays.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import TYPE_CHECKING

from almaflow.tracking import ui_views as views
from almaflow.tracking.figures import METRICS_PER_CALL, log_batch, milliseconds, rounded
from almaflow.tracking.schema import ACCURACY_EXPERIMENT, PARAM_LENGTH, TAG_LENGTH, cut
from almaflow.tracking.session import session
from almaflow.tracking.store import prepare, search
from almaflow.tracking.writer import NEUTRAL_TAGS, NOTE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Run

    from almaflow.accuracy.series import Key, Point, Series

KIND = "accuracy"
ATTEMPTS = 3
METRICS = ("error_pct", "abs_error_pct", "predicted_ms", "measured_ms")


def track(uri: str, all_series: Iterable[Series]) -> int:
    """Bring the runs of the series up to date, and return how many had news.

    Args:
        uri: A resolved store.
        all_series: Series with all their points; those of several experiments have a run in each.

    Raises:
        TrackingError: the store cannot be reached or written; trying again does no harm.
        UsageError: the experiment was deleted.
    """
    by_experiment: dict[str, list[tuple[Series, list[Point]]]] = {}
    for series in all_series:
        for experiment in dict.fromkeys(point.run.experiment for point in series.points):
            own = [point for point in series.points if point.run.experiment == experiment]
            by_experiment.setdefault(experiment, []).append((series, own))
    written = 0
    for experiment, pairs in by_experiment.items():
        experiment_id = prepare(uri, ACCURACY_EXPERIMENT.format(experiment))
        with session(uri, "accuracy could not be tracked", "run the same again") as client:
            views.write(client, experiment_id, [views.series_view()])
            runs = _runs_by_series(client, experiment_id)
            written += sum(
                _update(client, experiment_id, series, points, runs.get(_digest_of(series.key), []))
                for series, points in pairs
            )
    return written


def _runs_by_series(client: MlflowClient, experiment_id: str) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {}
    for run in search(client, [experiment_id], f"tags.`almaflow.kind` = '{KIND}'"):
        runs.setdefault(run.data.tags.get("almaflow.series", ""), []).append(run)
    return runs


def _update(
    client: MlflowClient, experiment_id: str, series: Series, points: Sequence[Point], runs: Sequence[Run]
) -> bool:
    """Write the series' run where it is not up to date, and return whether it was not."""
    from mlflow.exceptions import MlflowException

    state = _digest([[point.run.run_id, point.error] for point in points])
    if len(runs) == 1 and runs[0].data.tags.get("almaflow.points") == state:
        return False
    for attempt in range(ATTEMPTS):
        try:
            _write(client, experiment_id, series, points, state, runs)
        except MlflowException:
            # Another process made the same run and took ours away: its own is the one to go on with.
            runs = _runs_by_series(client, experiment_id).get(_digest_of(series.key), [])
            if attempt == ATTEMPTS - 1:
                raise
        else:
            break
    return True


def _write(  # noqa: PLR0913, PLR0917 - what a series' run consists of
    client: MlflowClient,
    experiment_id: str,
    series: Series,
    points: Sequence[Point],
    state: str,
    runs: Sequence[Run],
) -> None:
    run = _only(client, experiment_id, series, runs)
    if not _within(client, run, points):
        client.delete_run(run.info.run_id)  # it has points that are no longer there, and no metric can be taken back
        run = _only(client, experiment_id, series, [])
    _log(client, run.info.run_id, points)
    tags = {"almaflow.points": state, "almaflow.status": "ok", "almaflow.verdict": str(series.verdict)}
    tags[NOTE] = _note(series)
    if series.changes:
        tags["almaflow.last_change"] = series.changes[-1].cause.why
    figures = {
        "accuracy/points": float(len(points)),
        "accuracy/mean_abs_error_pct": series.summary.mean_abs.value,
        "accuracy/now_mean_abs_error_pct": series.now.mean_abs.value,
        "accuracy/changes": float(len(series.changes)),
    }
    last = milliseconds(points[-1].run.at)
    log_batch(client, run.info.run_id, figures, {}, last, tags)
    client.set_terminated(run.info.run_id, end_time=last)


def _note(series: Series) -> str:
    """Tell the error and the verdict in a line, and what the last change was."""
    error = f"{series.now.signed.value:+.1f}% now, {series.now.mean_abs.value:.1f}% without sign"
    change = f"; last change: {series.changes[-1].cause.why}" if series.changes else ""
    return cut(f"{error}: {series.verdict}{change}", TAG_LENGTH)


def _only(client: MlflowClient, experiment_id: str, series: Series, runs: Sequence[Run]) -> Run:
    """Return the run of the series, created where there is none; the smallest ID where there are several."""
    facts = {name: cut(str(value), PARAM_LENGTH) for name, value in series.key._asdict().items() if value != ""}
    if not runs:
        client.create_run(
            experiment_id,
            start_time=milliseconds(series.points[0].run.at),
            tags=NEUTRAL_TAGS | {"almaflow.kind": KIND, "almaflow.series": _digest_of(series.key)},
            run_name=str(series.key),
        )
    runs = _runs_by_series(client, experiment_id)[_digest_of(series.key)]
    first, *others = sorted(runs, key=lambda run: run.info.run_id)
    for other in others:
        with suppress(Exception):  # another process deletes it as well
            client.delete_run(other.info.run_id)
    if not facts.keys() <= first.data.params.keys():  # it is new, or who created it was killed right after
        log_batch(client, first.info.run_id, {}, facts, first.info.start_time)
    return first


def _within(client: MlflowClient, run: Run, points: Sequence[Point]) -> bool:
    """Return whether every value that the run has is among the points."""
    expected = {(_step(point), rounded(point.error)) for point in points}
    return {
        (metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, METRICS[0])
    } <= expected


def _log(client: MlflowClient, run_id: str, points: Sequence[Point]) -> None:
    from mlflow.entities import Metric

    metrics = [
        Metric(name, rounded(value), milliseconds(point.run.at), _step(point))
        for point in points
        for name, value in zip(
            METRICS, (point.error, abs(point.error), point.said.latency_ms, point.measured_ms), strict=True
        )
    ]
    for start in range(0, len(metrics), METRICS_PER_CALL):
        client.log_batch(run_id, metrics[start : start + METRICS_PER_CALL])


def _step(point: Point) -> int:
    """Return seconds since the epoch: no other process and no later measurement changes a point's step."""
    return int(point.run.at)


def _digest_of(key: Key) -> str:
    """Return the digest of a key; a model without a digest keeps the run that it has."""
    return _digest(key if key.model_digest else key[:-1])


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:16]
