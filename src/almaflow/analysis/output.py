"""The job as ``output=FILE.json`` holds it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from almaflow.analysis.metrics import HEADLINES
from almaflow.analysis.verdict import analyse

if TYPE_CHECKING:
    from almaflow.analysis.rows import Row
    from almaflow.records import Job


def to_output(job: Job) -> dict[str, Any]:
    """Return the job as plain data for JSON, without NaN or infinity.

    Every entry of ``conversions`` (in plan order) has all headline metrics, null where there is none, and of the
    metrics with a section those that are known. They stand beside ``conversion`` and ``status``.
    """
    analysis = analyse(job)
    rows = {id(row.outcome): row for row in analysis.rows}
    return {
        "model": job.model.name,
        "hardware": job.hardware.name,
        "price_per_hour": job.hardware.price_per_hour,
        "price_source": job.hardware.price_source,
        "tier": job.tier,
        "batch_size": job.model.batch_size,
        "job_id": job.job_id,
        "experiment_name": job.experiment_name,
        "run_id": job.run_id,
        "interrupted": job.interrupted,
        "environment": dict(job.environment),
        "notes": list(job.prepared.notes) if job.prepared else [],
        "conversions": [_entry(rows[id(outcome)]) for outcome in job.outcomes],
        "best_conversion": analysis.best_conversion,
        "best_latency_ms": analysis.best_latency_ms,
        "best_speedup_vs_eager": analysis.best_speedup_vs_eager,
        "best_speedup_vs_inductor": analysis.best_speedup_vs_inductor,
        "tied_with_best": list(analysis.tied_with_best),
        "recommendations": [asdict(each) for each in analysis.recommendations],
        "headroom": analysis.headroom,
    }


def _entry(row: Row) -> dict[str, Any]:
    planned = row.outcome.planned
    kind = row.failure_kind
    return {
        "conversion": row.name,
        "status": row.outcome.status.value,
        "failure": kind.value if kind else None,
        "message": row.message,
        "install": planned.install if planned.unavailable else None,
        "run_id": row.outcome.run_id,
        "engine": planned.engine,
        "device": row.device,
        "device_override": planned.device_override,
        "dtype": planned.dtype,
        "notes": list(row.outcome.measurement.notes) if row.outcome.measurement else [],
        **dict.fromkeys(HEADLINES),
        **row.metrics,
    }
