"""The job as ``output=FILE.json`` holds it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from almaflow.analysis.choose import candidates_of
from almaflow.analysis.metrics import HEADLINES
from almaflow.analysis.pareto import front
from almaflow.analysis.quality import quality_ok, verdict
from almaflow.analysis.verdict import analyse
from almaflow.errors import RecordError
from almaflow.records import stamp
from almaflow.records.plan import INDUCTOR

if TYPE_CHECKING:
    from almaflow.analysis.rows import Row
    from almaflow.analysis.verdict import Analysis
    from almaflow.records import Job

_TEXTS = ("conversion", "status", "device", "dtype")
"""Values of a conversion that are there in any case."""
_UNKNOWN = (
    *("best_conversion", "best_latency_ms", "best_speedup_vs_eager", "best_speedup_vs_inductor", "headroom"),
    *("inductor_latency_ms", "inductor_error_pct", "price_per_hour", "price_source", "choice", "machine"),
)


def to_output(job: Job, analysis: Analysis | None = None) -> dict[str, Any]:
    """Return the job as plain data for JSON, without NaN or infinity.

    Every entry of ``conversions`` (in plan order) has all headline metrics, null where there is none, and of the
    metrics with a section those that are known. They stand beside ``conversion`` and ``status``.

    Args:
        job: The job.
        analysis: Its verdict, where the caller has it.
    """
    analysis = analysis or analyse(job)
    rows = {id(row.outcome): row for row in analysis.rows}
    inductor = next((row.metrics for row in analysis.rows if row.name == INDUCTOR), {})
    return {
        **stamp(),
        "model": job.model.name,
        "hardware": job.hardware.name,
        "price_per_hour": job.hardware.price_per_hour,
        "price_source": job.hardware.price_source,
        "tier": job.tier,
        "batch_size": job.model.batch_size,
        "threads": job.hardware.threads,
        "job_id": job.job_id,
        "machine": job.machine,
        "experiment_name": job.experiment_name,
        "run_id": job.run_id,
        "interrupted": job.interrupted,
        "environment": dict(job.environment),
        "measure": {name: value for name, value in asdict(job.measure).items() if value is not None},
        "notes": list(job.prepared.notes) if job.prepared else [],
        "warnings": list(analysis.warnings),
        "conversions": [_entry(job, rows[id(outcome)]) for outcome in job.outcomes],
        "best_conversion": analysis.best_conversion,
        "best_latency_ms": analysis.best_latency_ms,
        "best_speedup_vs_eager": analysis.best_speedup_vs_eager,
        "best_speedup_vs_inductor": analysis.best_speedup_vs_inductor,
        "inductor_latency_ms": inductor.get("latency_ms"),
        "inductor_error_pct": inductor.get("prediction_error_pct"),
        "tied_with_best": list(analysis.tied_with_best),
        "unclear_beside_best": list(analysis.unclear_beside_best),
        "recommendations": [asdict(each) for each in analysis.recommendations],
        "headroom": analysis.headroom,
        "pareto": list(analysis.pareto),
        "choice": asdict(analysis.choice) if analysis.choice else None,
    }


def completed(output: Any) -> dict[str, Any]:
    """Return a stored output with null for what the almaflow that wrote it did not have.

    Raises:
        RecordError: it is no output of a job.
    """
    try:
        absent: dict[str, Any] = dict.fromkeys(_UNKNOWN) | dict.fromkeys(("model", "hardware", "batch_size"), "unknown")
        absent |= {
            "environment": {},
            "tied_with_best": [],
            "unclear_beside_best": [],
            "recommendations": [],
            "warnings": [],
            "threads": None,
        }
        absent |= {"notes": [], "measure": {}}
        entry: dict[str, Any] = dict.fromkeys(
            (*HEADLINES, "failure", "message", "quality_verdict", "quality_ok")
        ) | dict.fromkeys(_TEXTS, "unknown")
        known: dict[str, Any] = absent | output
        known |= {"conversions": [entry | _judged(each) for each in output.get("conversions", ())]}
        return {"pareto": front(candidates_of(known)), **known}
    except (TypeError, AttributeError) as error:
        message = "the stored result is damaged: it is no output of a job"
        raise RecordError(message) from error


def _judged(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of a conversion with ``quality_ok``, which older ones tell in words only."""
    told = entry.get("quality_verdict")
    if "quality_ok" in entry or told is None:
        return entry
    return {"quality_ok": None if told.startswith("not evaluated") else told == "ok", **entry}


def _entry(job: Job, row: Row) -> dict[str, Any]:
    planned, measured = row.outcome.planned, row.outcome.measurement
    kind = row.failure_kind
    return {
        "conversion": row.name,
        "status": row.outcome.status.value,
        "failure": kind.value if kind else None,
        "message": row.message,
        "quality_verdict": verdict(job, row.outcome),
        "quality_ok": quality_ok(job, row.outcome),
        "traceback": row.outcome.failure.traceback if row.outcome.failure else None,
        "install": planned.install if planned.unavailable else None,
        "run_id": row.outcome.run_id,
        "engine": planned.engine,
        "device": row.device,
        "device_override": planned.device_override,
        "dtype": planned.dtype,
        "notes": list(measured.notes) if measured else [],
        "threads": dict(measured.threads) if measured else {},
        "runtime": dict(measured.runtime) if measured else {},
        **dict.fromkeys(HEADLINES),
        **row.metrics,
    }
