"""The metrics of a job as a whole."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from almaflow.analysis.verdict import analyse
from almaflow.records import Status

if TYPE_CHECKING:
    from almaflow.records import Job


def job_metrics(job: Job) -> dict[str, float]:
    """Figures of the job's own run; one that is not known is absent."""
    analysis = analyse(job)
    figures = {
        "best_latency_ms": analysis.best_latency_ms,
        "best_speedup_vs_eager": analysis.best_speedup_vs_eager,
        "best_speedup_vs_inductor": analysis.best_speedup_vs_inductor,
        "time/job": (job.ended_at or time.time()) - job.started_at,
        "machine/drift_pct": 100 * job.drift.relative if job.drift else None,
        "machine/drift_resolved_pct": 100 * job.drift.resolved if job.drift else None,
    }
    counts = {status: sum(outcome.status is status for outcome in job.outcomes) for status in Status}
    known = {name: value for name, value in figures.items() if value is not None}
    return {f"conversions_{status}": float(count) for status, count in counts.items()} | known
