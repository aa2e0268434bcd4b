"""Measurements with predictions, made: as records, and as runs in a real store."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from almaflow.records import RecordedPrediction, ScoredRun
from almaflow.tracking.figures import log_batch, rounded
from almaflow.tracking.session import connect
from almaflow.tracking.store import prepare

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DAY = 86_400.0
FIRST = 1_700_000_000.0
ENVIRONMENT = {"cpu": "A CPU", "torch": "2.14.1", "onnxruntime": "1.31.1", "git_commit": "aaaa"}


def run(
    night: int = 0,
    floor_ms: float = 10.0,
    predicted_ms: float = 11.0,
    conversion: str = "ONNX_CPU",
    **changes: object,
) -> ScoredRun:
    """One measurement of resnet18 in a night, predicted by ``calibrated``; figures have the digits of the store."""
    floor_ms = rounded(floor_ms)
    made = ScoredRun(
        run_id=f"{night:04d}-{conversion}",
        experiment="almaflow",
        at=FIRST + night * DAY,
        job_run_id=f"job-{night}",
        model="resnet18",
        hardware="office",
        machine="A CPU",
        conversion=conversion,
        batch_size=1,
        input_shape="1x3x224x224",
        dtype="float32",
        device="cpu",
        threads="2",
        calls="",
        latency_ms=rounded(floor_ms * 1.05),
        floor_ms=floor_ms,
        low_ms=rounded(floor_ms * 1.04),
        high_ms=rounded(floor_ms * 1.06),
        control_ms=0.9,
        others_cpus=0.04,
        environment=ENVIRONMENT,
        said=(RecordedPrediction("calibrated", "v1", predicted_ms),),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def nights(count: int, noise: float = 0.01, seed: int = 1, **changes: object) -> list[ScoredRun]:
    """Several nights of about 10 ms."""
    draw = Random(seed)  # noqa: S311 - figures, not secrets
    return [run(night, 10 * (1 + draw.gauss(0, noise)), **changes) for night in range(count)]  # type: ignore[arg-type]


def stored(uri: str, runs: Iterable[ScoredRun], experiment: str = "almaflow") -> list[str]:
    """Write them as ``almaflow run`` writes conversions; their IDs."""
    experiment_id = prepare(uri, experiment)
    client, found = connect(uri), []
    for each in runs:
        at = int(each.at * 1000)
        tags = {"almaflow.kind": "conversion", "almaflow.status": "ok", "almaflow.job_run_id": each.job_run_id}
        tags["almaflow.device_actual"] = each.device
        tags |= {"almaflow.machine": each.machine_id} if each.machine_id else {}
        tags |= {f"env.{name}": value for name, value in each.environment.items()}
        metrics = {
            "latency_ms": each.latency_ms,
            "latency/floor": each.floor_ms,
            "latency/ci_low": each.low_ms,
            "latency/ci_high": each.high_ms,
            "machine/control_ms": each.control_ms,
            "machine/others_cpus": each.others_cpus,
        }
        for said in each.said:
            metrics[f"prediction/{said.predictor}/latency_ms"] = said.latency_ms
            tags[f"almaflow.predictor_version.{said.predictor}"] = said.version
        params = {
            name: str(getattr(each, name))
            for name in ("model", "hardware", "conversion", "batch_size", "input_shape", "dtype", "device", "threads")
        }
        params["predictor"] = each.said[0].predictor if each.said else "none"
        made = client.create_run(client.get_experiment(experiment_id).experiment_id, at, tags=tags)
        known = {name: value for name, value in metrics.items() if value is not None}
        log_batch(client, made.info.run_id, known, params, at)
        client.set_terminated(made.info.run_id, end_time=at + 1000)
        found.append(made.info.run_id)
    return found


def with_ids(runs: Sequence[ScoredRun], ids: Sequence[str]) -> list[ScoredRun]:
    """The runs as the store has them."""
    return [replace(each, run_id=run_id) for each, run_id in zip(runs, ids, strict=True)]
