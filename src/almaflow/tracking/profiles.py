"""The runs that stand for a recorded session and for the total of each function in each conversion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from almaflow.records.profile_results import BEST
from almaflow.tracking import schema as names
from almaflow.tracking.artifacts import copy_to
from almaflow.tracking.figures import log_batch, milliseconds
from almaflow.tracking.session import session
from almaflow.tracking.store import prepare
from almaflow.tracking.writer import NEUTRAL_TAGS, NOTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mlflow import MlflowClient

TOTAL_METRICS = {
    "total/ms": "ms",
    "total/ci_low": "low_ms",
    "total/ci_high": "high_ms",
    "total/p50": "p50_ms",
    "total/p95": "p95_ms",
    "total/backend_ms": "backend_ms",
    "total/python_ms": "python_ms",
    "total/cost_per_million_usd": "cost_per_million_usd",
    "total/failures": "failures",
}
"""Metrics of a total, with their names in the session's data."""
VERIFY_METRICS = {
    "verify/measured_ms": "measured_ms",
    "verify/ci_low": "low_ms",
    "verify/ci_high": "high_ms",
    "verify/eager_ms": "eager_ms",
    "verify/predicted_ms": "predicted_ms",
    "verify/error_pct": "error_pct",
    "verify/ok": "ok",
}
"""Metrics of a function that was run with its best conversions in place: of its best totals, and of a session that has
one function."""
PROFILE_METRICS = (
    *("profile/calls", "profile/discarded", "profile/segments", "profile/variants", "profile/lost_frames"),
    *("profile/covered_pct", "profile/eager_ms", "profile/closure_pct"),
)
"""Metrics of a session; those of a function only where it has one function."""


@dataclass(frozen=True)
class _Wanted:
    """A run as it is to be."""

    kind: str
    name: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    artifacts: Path | None = None


def log_profile(  # noqa: PLR0913, PLR0917 - what the runs are made of
    uri: str, experiment_name: str, data: Mapping[str, Any], times: tuple[float, float], note: str, artifacts: Path
) -> None:
    """Write the runs of a session, or bring those that the store has up to date.

    A run keeps its metrics for ever. So where a total has lost one of its figures, its run is deleted and written anew,
    and the run of a total that is no longer there is deleted.

    Args:
        uri: A resolved store.
        experiment_name: The experiment, created where it is new.
        data: The session and its figures, as ``ProfileReport.to_dict`` returns them.
        times: When measuring began and ended, in seconds since the epoch.
        note: What MLflow shows above the session's run.
        artifacts: A directory whose files become those of the session's run.

    Raises:
        TrackingError: the store cannot be reached or written; trying again does no harm.
        UsageError: the experiment was deleted.
    """
    experiment_id = prepare(uri, experiment_name)
    profile_id = data["profile_id"]
    with session(uri, "the profile's record could not be written", "`almaflow sync` writes it") as client:
        where = f"tags.`almaflow.profile_id` = '{profile_id}' AND tags.`almaflow.kind`"
        every = (_profile(data, note, artifacts), *_totals(data))
        metrics = {_identity(each.kind, each.params): {*each.metrics} for each in every}
        known: dict[tuple[str, ...], str] = {}
        for kind in ("profile", "profile_total"):
            for run in client.search_runs([experiment_id], f"{where} = '{kind}'"):
                identity = _identity(kind, run.data.params)
                lost = {*run.data.metrics} - metrics.get(identity, set())
                if identity in known or identity not in metrics or lost:
                    client.delete_run(run.info.run_id)
                else:
                    known[identity] = run.info.run_id
        for wanted in every:
            names.check_metrics(wanted.metrics)
            _write(client, experiment_id, profile_id, wanted, known.get(_identity(wanted.kind, wanted.params)), times)


def _identity(kind: str, params: Mapping[str, str]) -> tuple[str, ...]:
    of_total = ("function", "hardware", "conversion") if kind == "profile_total" else ()
    return (kind, *(params.get(name, "") for name in of_total))


def _write(  # noqa: PLR0913, PLR0917 - a run with its place
    client: MlflowClient,
    experiment_id: str,
    profile_id: str,
    wanted: _Wanted,
    run_id: str | None,
    times: tuple[float, float],
) -> None:
    began, ended = map(milliseconds, times)
    if run_id is None:
        tags = NEUTRAL_TAGS | {"almaflow.kind": wanted.kind, "almaflow.profile_id": profile_id}
        run = client.create_run(experiment_id, start_time=began, tags=tags, run_name=wanted.name)
        run_id = str(run.info.run_id)
        log_batch(client, run_id, {}, wanted.params, began)
    log_batch(client, run_id, wanted.metrics, {}, ended, wanted.tags)
    if wanted.artifacts:
        copy_to(client, run_id, wanted.artifacts)
    client.set_terminated(run_id, status="FINISHED", end_time=ended)


def _profile(data: Mapping[str, Any], note: str, artifacts: Path) -> _Wanted:
    functions = data["functions"]
    figures: dict[str, float | None] = {
        "profile/calls": sum(each["calls"] for each in functions),
        "profile/discarded": sum(sum(each["discarded"].values()) for each in functions),
        "profile/segments": len({part["segment_id"] for each in functions for part in each["segments"]}),
        "profile/variants": sum(each["variants"] for each in functions),
        "profile/lost_frames": len(data["lost"]),
        "profile/covered_pct": data["covered_pct"],
    }
    if len(functions) == 1:
        figures |= {f"profile/{name}": functions[0][name] for name in ("eager_ms", "closure_pct")}
        figures |= _verified(functions[0])
    named = ", ".join(each["function"] for each in functions)
    return _Wanted(
        "profile",
        names.cut(f"profile {named or data['profile_id']}", names.RUN_NAME_LENGTH),
        {"functions": names.cut(named, names.PARAM_LENGTH)},
        {name: float(value) for name, value in figures.items() if value is not None},
        {"almaflow.status": "ok", NOTE: names.cut(note, names.TAG_LENGTH)},
        artifacts,
    )


def _verified(function: Mapping[str, Any]) -> dict[str, float | None]:
    found = function["verification"] or {}
    return {name: found.get(key) for name, key in VERIFY_METRICS.items()}


def _totals(data: Mapping[str, Any]) -> Iterator[_Wanted]:
    for function in data["functions"]:
        for each in function["totals"]:
            values = {name: each[key] for name, key in TOTAL_METRICS.items()}
            values |= _verified(function) if each["conversion"] == BEST else {}
            params = {"function": function["function"], "hardware": each["hardware"], "conversion": each["conversion"]}
            yield _Wanted(
                "profile_total",
                names.cut(f"{each['conversion']} {function['function']}", names.RUN_NAME_LENGTH),
                {name: names.cut(value, names.PARAM_LENGTH) for name, value in params.items()},
                {name: float(value) for name, value in values.items() if value is not None},
                {"almaflow.status": "failed" if each["ms"] is None else "ok"},
            )
