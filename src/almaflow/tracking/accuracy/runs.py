"""Read the scored runs of a store: all of them once, then only what is new.

What was read is cached, and checked against the store. MLflow lists runs in the order of their start. A run that is
added, removed or changed therefore shifts or differs at some position. The runs at a few positions (the first, the
last, and some drawn each time) are read again and compared; all from the first difference on are read again. A change
of an old run's values stays unseen until such a position meets it, or until ``fresh``. An sqlite store to which nothing
was written since is not asked at all (``history``).
"""

from __future__ import annotations

import random
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from almaflow.records import RecordedPrediction, ScoredRun
from almaflow.records.prediction import BASELINE_NAMES
from almaflow.tracking.accuracy.cache import Cached, RunCache
from almaflow.tracking.accuracy.pages import PAGE, MeasuredRuns
from almaflow.tracking.fingerprints import model_digest
from almaflow.tracking.reader import stored_run
from almaflow.tracking.session import session
from almaflow.tracking.uris import is_missing, is_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from almaflow.tracking.accuracy.cache import Later
    from almaflow.tracking.reader import StoredRun

PROBES = 5
SETTLED_AFTER_S = 600
"""A run that was written a moment ago may still get figures."""
UNFINISHED_S = 86_400
_TAKEN = ("machine/others_cpus", "machine/steal_cpus")
_SAID = re.compile(r"prediction/(?P<predictor>[^/]+)/latency_ms")
_CALLS = {"measure.streams": "1", "measure.include_transfer": "false"}
"""Settings that change what a timed call is, and their defaults."""


def scored_runs(
    uri: str,
    notify: Callable[[int], None] = lambda _: None,
    *,
    fresh: bool = False,
    whole: tuple[str, Later] | None = None,
) -> list[ScoredRun]:
    """Read all conversions with a latency that counts, each with its predictions, in the order of their start.

    Args:
        uri: A resolved store.
        notify: Called with the number of runs that were read from the store so far.
        fresh: Read all of them again.
        whole: The state of the store and all its later predictions in that state, to be cached with the runs.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    if is_missing(uri):
        return []
    cache = RunCache(uri)
    with session(uri, "predictions could not be read") as client:
        runs = MeasuredRuns.of(client, serves=is_server(uri))

        def read_at(position: int) -> ScoredRun | None:
            run = runs.at(position)
            return scored_run(stored_run(run, runs.names)) if run else None

        known = Cached() if fresh else cache.read()
        cached = known.runs
        start = _agreeing(cached, known.settled, read_at)
        new: list[ScoredRun] = []
        written_at: list[float] = []
        environments: dict[tuple[str, ...], dict[str, str]] = {}
        for run in runs.since(start):
            scored = scored_run(stored_run(run, runs.names))
            # Most of a run are the versions of packages, and most runs have the same.
            same = environments.setdefault((*scored.environment, *scored.environment.values()), scored.environment)
            new.append(replace(scored, environment=same))
            written_at.append(_written_at(run.info.start_time, run.info.end_time))
            if len(new) % PAGE == 0:
                notify(len(new))
        notify(len(new))
    recent = time.time() - SETTLED_AFTER_S
    fixed = next((index for index, at in enumerate(written_at) if at > recent), len(new))
    cache.replace(start, new, start + fixed, whole)
    return [run for run in (*cached[:start], *new) if run.counts]


def _written_at(started_ms: int, ended_ms: int | None) -> float:
    """Return when a run got its figures, in seconds since the epoch; one without an end may get some for a day."""
    if ended_ms is None:
        return max(time.time() - SETTLED_AFTER_S, started_ms / 1000 + UNFINISHED_S)
    return ended_ms / 1000


def _agreeing(cached: list[ScoredRun], settled: int, read_at: Callable[[int], ScoredRun | None]) -> int:
    """Count the first cached runs that are still in the store as they were."""
    count = min(len(cached), settled)
    if not count:
        return 0
    positions = {0, count - 1, *(random.randrange(count) for _ in range(PROBES))}  # noqa: S311 - no secret
    wrong = next((position for position in sorted(positions) if read_at(position) != cached[position]), None)
    if wrong is None:
        return count
    low, high = 0, wrong  # all below ``low`` agree, the one at ``high`` does not
    while low < high:
        middle = (low + high) // 2
        if read_at(middle) == cached[middle]:
            low = middle + 1
        else:
            high = middle
    return low


def scored_run(run: StoredRun) -> ScoredRun:
    """Return a run as accuracy needs it; one without a latency that counts has zeros."""
    metrics, params, tags = run.metrics, run.params, run.tags
    latency = metrics.get("latency_ms", 0.0) if tags.get("almaflow.status") == "ok" else 0.0
    environment = {name[4:]: value for name, value in sorted(tags.items()) if name.startswith("env.")}
    device = params.get("device", "")
    processor = environment.get("gpu" if device.startswith("cuda") else "cpu", "")
    cpus = f" on {params['cpus']}" if "cpus" in params else ""
    calls = [f"{name[8:]}={params[name]}" for name, usual in _CALLS.items() if params.get(name, usual) != usual]
    return ScoredRun(
        run_id=run.run_id,
        experiment=run.experiment,
        at=run.started_at,
        job_run_id=tags.get("almaflow.job_run_id", ""),
        model=params.get("model", ""),
        hardware=params.get("hardware", ""),
        machine=processor,
        conversion=params.get("conversion", ""),
        batch_size=int(params.get("batch_size", 0)),
        input_shape=params.get("input_shape", ""),
        dtype=params.get("dtype", ""),
        device=device,
        threads=f"{params.get('threads', '')}{cpus}",
        calls=", ".join(calls),
        latency_ms=latency,
        floor_ms=metrics.get("latency/floor", latency) if latency else 0.0,
        low_ms=metrics.get("latency/ci_low"),
        high_ms=metrics.get("latency/ci_high"),
        control_ms=metrics.get("machine/control_ms"),
        others_cpus=sum(taken) if (taken := [metrics[name] for name in _TAKEN if name in metrics]) else None,
        environment=environment,
        said=tuple(_said(run, params.get("predictor", ""))),
        model_digest=model_digest(tags),
        machine_id=tags.get("almaflow.machine", ""),
    )


def _said(run: StoredRun, first: str) -> Iterator[RecordedPrediction]:
    """Yield the predictions of a run. A baseline counts as named only where it was the job's first predictor."""
    baselines = set(BASELINE_NAMES)
    for name, value in sorted(run.metrics.items()):
        if (match := _SAID.fullmatch(name)) and value > 0:
            predictor = match["predictor"]
            section = f"prediction/{predictor}"
            yield RecordedPrediction(
                predictor,
                run.tags.get(f"almaflow.predictor_version.{predictor}", ""),
                value,
                run.metrics.get(f"{section}/low_ms"),
                run.metrics.get(f"{section}/high_ms"),
                predictor == first or predictor not in baselines,
            )
