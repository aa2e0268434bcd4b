"""Makes figures of a segment's job: one for each conversion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.analysis.rows import make_rows
from almaflow.records import FailureKind, Status
from almaflow.records.clock import now
from almaflow.records.profile_results import SegmentFigure
from almaflow.tracking.fingerprints import setting_fingerprint

if TYPE_CHECKING:
    from almaflow.analysis.rows import Row
    from almaflow.profiles.workload import Piece
    from almaflow.records import Job


def lost(segment_id: str, machine: str, conversions: tuple[str, ...], reason: str) -> tuple[SegmentFigure, ...]:
    """Return the figures of a segment that has no job on a machine: none has a time."""
    return tuple(
        SegmentFigure(segment_id, machine, each, Status.FAILED, message=reason, ended_at=now()) for each in conversions
    )


def figures_of(segment: Piece, job: Job, machine: str) -> tuple[SegmentFigure, ...]:
    """Return what a segment took in each conversion of its job, on a machine of this name."""
    return tuple(_figure(segment, job, row, machine) for row in make_rows(job))


def _figure(segment: Piece, job: Job, row: Row, machine: str) -> SegmentFigure:
    fidelity, status, failure = row.metrics.get("fidelity/sqnr_db"), row.outcome.status, row.failure_kind
    if not row.counts and status is Status.OK:  # it answered wrongly, or ran elsewhere
        status, failure = Status.FAILED, failure or FailureKind.WRONG_OUTPUT
    return SegmentFigure(
        segment.segment_id,
        machine,
        row.name,
        status,
        latency_ms=row.latency_ms,
        low_ms=row.metrics.get("latency/ci_low") if row.counts else None,
        high_ms=row.metrics.get("latency/ci_high") if row.counts else None,
        fidelity_db=fidelity,
        equal_share=row.metrics.get("fidelity/equal_share"),
        failure=failure,
        message=row.message,
        job_id=row.outcome.job_id or job.job_id,
        run_id=row.outcome.run_id,
        ended_at=row.outcome.ended_at,
        setting=setting_fingerprint(job),
    )


def line_of(figures: tuple[SegmentFigure, ...]) -> str:
    """Return the figures as a line for people."""
    return ", ".join(
        f"{each.conversion} {each.latency_ms:.3g} ms" if each.latency_ms else f"{each.conversion} {_why(each)}"
        for each in figures
    )


def _why(figure: SegmentFigure) -> str:
    return "cannot run here" if figure.status is Status.UNAVAILABLE else f"failed ({figure.failure})"
