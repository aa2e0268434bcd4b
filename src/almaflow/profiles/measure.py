"""Measures the segments of a recorded session, each as a job, and keeps each figure as soon as it is known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from almaflow.analysis.rows import make_rows
from almaflow.errors import AlmaflowError, TrackingError
from almaflow.profiles.choice import choose
from almaflow.profiles.files import MeasuredFiles
from almaflow.profiles.track import track
from almaflow.records import FailureKind, Status
from almaflow.records.clock import now
from almaflow.records.profile_results import SegmentFigure
from almaflow.tracking.fingerprints import setting_fingerprint
from almaflow.tracking.uris import display_uri

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from almaflow.analysis.rows import Row
    from almaflow.profiles.workload import Piece
    from almaflow.records import Job, ModelSpec
    from almaflow.records.profile_results import ProfileResults

MIN_SEGMENT_US = 50.0
"""Segments whose eager call takes less are not measured, where they hardly count together."""


class SegmentJobs(Protocol):
    """Runs a job for a segment: ``jobs.segments.SegmentJobs``."""

    experiment_name: str
    uri: str
    """A resolved store."""

    def run(self, model: ModelSpec, earlier: str | None = None) -> Job:
        """Measure a segment in the conversions that were asked for, or take what was measured before."""


def measure_profile(
    profile: Path | str,
    jobs: SegmentJobs,
    *,
    min_segment_us: float = MIN_SEGMENT_US,
    time_budget_s: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> ProfileResults:
    """Measure the segments of a session, the one with the most eager time first; what is known is not measured again.

    A segment whose job cannot be run, and what the time budget leaves, counts by its eager calls in the session.

    Args:
        profile: The ID of the session, or its directory.
        jobs: Runs the jobs.
        min_segment_us: Segments whose eager call takes less, in microseconds, are left out while all of them together
            take no more than a hundredth of the eager time.
        time_budget_s: Seconds after which no further segment is begun.
        tell: Gets a line about each segment.

    Raises:
        UsageError: there is no such session.
        TrackingError: the store cannot be used.
        KeyboardInterrupt: a job was interrupted; what was measured is kept.
    """
    files = MeasuredFiles.of(profile)
    workload, began = files.workload(), now()
    choice = choose(workload.pieces.values(), min_segment_us)
    with files.locked():
        results = replace(
            files.results(),
            counted_as_eager=dict(choice.left_out),
            experiment_name=jobs.experiment_name,
            store=display_uri(jobs.uri),
            started_at=began,
            ended_at=None,
            tracked=False,
        )
        files.write_results(results)
        again = 0
        for number, segment in enumerate(choice.order, 1):
            if time_budget_s is not None and now() - began > time_budget_s:
                left = {
                    each.segment_id: f"the time budget of {time_budget_s:g} s" for each in choice.order[number - 1 :]
                }
                results = replace(results, counted_as_eager=results.counted_as_eager | _unknown(results, left))
                tell(
                    f"{len(left)} of {len(choice.order)} segments left: the time budget of {time_budget_s:g} s is spent"
                )
                break
            place = f"segment {number} of {len(choice.order)}, {segment.location or segment.segment_id}"
            try:
                job = jobs.run(files.model_of(segment), results.jobs.get(segment.segment_id))
            except TrackingError:
                raise
            except AlmaflowError as error:
                results = replace(results, counted_as_eager=results.counted_as_eager | {segment.segment_id: str(error)})
                files.write_results(results)
                tell(f"{place}: counted as it ran eagerly: {error}")
                continue
            figures = _figures(segment, job)
            again += any(each.ended_at >= began for each in figures)
            prices = results.prices | {job.hardware.name: job.hardware.price_per_hour}
            known = results.jobs | {segment.segment_id: job.job_id}
            settings = results.settings | {job.hardware.name: setting_fingerprint(job)}
            results = replace(
                results,
                figures=results.with_figures(figures),
                prices=prices,
                jobs=known,
                settings=settings,
                threads=results.threads | {job.hardware.name: job.hardware.threads},
            )
            files.write_results(results)
            tell(f"{place}: {_line(figures)}")
            if job.interrupted:
                raise KeyboardInterrupt
        results = replace(results, ended_at=now())
        files.write_results(results)
    tell(f"measured {again} of {len(choice.order)} segments; the others are known, or count as they ran eagerly")
    try:
        track(files, jobs.uri)
    except TrackingError as error:
        tell(str(error))
    return files.results()


def _unknown(results: ProfileResults, reasons: dict[str, str]) -> dict[str, str]:
    """Return the reasons of those that have no figure from before."""
    known = {each.segment_id for each in results.figures}
    return {segment: reason for segment, reason in reasons.items() if segment not in known}


def _figures(segment: Piece, job: Job) -> tuple[SegmentFigure, ...]:
    return tuple(_figure(segment, job, row) for row in make_rows(job))


def _figure(segment: Piece, job: Job, row: Row) -> SegmentFigure:
    fidelity, status, failure = row.metrics.get("fidelity/sqnr_db"), row.outcome.status, row.failure_kind
    if not row.counts and status is Status.OK:  # it answered wrongly, or ran elsewhere
        status, failure = Status.FAILED, failure or FailureKind.WRONG_OUTPUT
    return SegmentFigure(
        segment.segment_id,
        job.hardware.name,
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


def _line(figures: tuple[SegmentFigure, ...]) -> str:
    return ", ".join(
        f"{each.conversion} {each.latency_ms:.3g} ms" if each.latency_ms else f"{each.conversion} {_why(each)}"
        for each in figures
    )


def _why(figure: SegmentFigure) -> str:
    return "cannot run here" if figure.status is Status.UNAVAILABLE else f"failed ({figure.failure})"
