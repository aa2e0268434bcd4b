"""Read what was measured on a machine before, for predictors to learn from."""

from __future__ import annotations

from itertools import islice
from types import NoneType
from typing import TYPE_CHECKING

from almaflow.analysis.standings import Standing, standings
from almaflow.records import PastMeasurement
from almaflow.tracking.fingerprints import digests_of
from almaflow.tracking.reader import StoredRun, condition, conversion_runs

if TYPE_CHECKING:
    from almaflow.records import HardwareSpec, ModelSpec

SAME_MODEL = 100
ANY_MODEL = 300
"""The number of newest runs that are read: a thousand take three seconds."""

_PARAMS = {"model", "hardware", "conversion", "batch_size", "threads"}


def past_of(
    uri: str, experiment_name: str, model: ModelSpec, hardware: HardwareSpec | str | None
) -> tuple[PastMeasurement, ...]:
    """Conversions that gave a latency on this hardware with as many threads: of the same model, and of any.

    Args:
        uri: A resolved store.
        experiment_name: The experiment to search.
        model: The model, by its name and batch size.
        hardware: The hardware, by its name and threads; or a name, with any threads; None: any hardware.

    Returns:
        The newest first, at most a few hundred.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    where = {"tags.`almaflow.status`": "ok"}
    if hardware is not None:
        where["params.hardware"] = hardware if isinstance(hardware, str) else hardware.name
    if not isinstance(hardware, (str, NoneType)):
        where["params.threads"] = str(hardware.threads)
    same = {"params.model": model.name, "params.batch_size": str(model.batch_size)}
    runs = [
        *islice(conversion_runs(uri, experiment_name, condition(where | same)), SAME_MODEL),
        *islice(conversion_runs(uri, experiment_name, condition(where)), ANY_MODEL),
    ]
    measurements = {run.run_id: past for run in runs if (past := _past(run))}
    return tuple(sorted(measurements.values(), key=lambda past: past.at, reverse=True))


def known_errors(uri: str, experiment_name: str, hardware: HardwareSpec) -> dict[str, Standing]:
    """Return the recent error of each predictor on this hardware, by the predictor's name.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    where = condition({"tags.`almaflow.status`": "ok", "params.hardware": hardware.name})
    runs = islice(conversion_runs(uri, experiment_name, where), ANY_MODEL)
    return {each.predictor: each for each in standings(run.metrics for run in runs)}


def _past(run: StoredRun) -> PastMeasurement | None:
    if "latency_ms" not in run.metrics or not run.params.keys() >= _PARAMS:
        return None  # interrupted, a figure that does not count, or half a run
    return PastMeasurement(
        model=run.params["model"],
        hardware=run.params["hardware"],
        conversion=run.params["conversion"],
        batch_size=int(run.params["batch_size"]),
        threads=int(run.params["threads"]),
        latency_ms=run.metrics["latency_ms"],
        floor_ms=run.metrics.get("latency/floor", run.metrics["latency_ms"]),
        fingerprint=run.tags.get("almaflow.fingerprint", ""),
        job_id=run.tags.get("almaflow.job_id", ""),
        run_id=run.run_id,
        at=run.started_at,
        speedup_vs_eager=run.metrics.get("speedup_vs_eager"),
        digests=digests_of(run.tags),
    )
