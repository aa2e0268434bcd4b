"""What each segment of a session takes in a conversion: measured, interpolated between sizes, or as it ran eagerly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from almaflow.profiles.sizes import grids, interpolate
from almaflow.profiles.totals import Latency
from almaflow.records.plan import EAGER
from almaflow.records.profile_results import SizeCheck

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from almaflow.profiles.workload import Piece, Workload
    from almaflow.records.profile_results import ProfileResults, SegmentFigure

NOT_MEASURED = "not measured yet"


@dataclass(frozen=True)
class Deployment:
    """A conversion on a machine."""

    hardware: str
    conversion: str


@dataclass(frozen=True)
class Latencies:
    """What the segments take in one conversion."""

    of: dict[str, Latency]
    """By segment; one that has failed is absent."""
    failed: dict[str, str]
    """Why a segment has no latency."""
    figures: dict[str, SegmentFigure]
    """What was measured."""


def deployments(results: ProfileResults) -> list[Deployment]:
    """Return the conversions that were measured on each machine, in the order in which they were asked for."""
    return list(dict.fromkeys(Deployment(each.hardware, each.conversion) for each in results.figures))


def latencies(workload: Workload, results: ProfileResults, deployment: Deployment) -> Latencies:
    """Return what each segment takes in a conversion, and which have failed in it.

    A segment counts as it was recorded only where no conversion on the machine has a figure of it, so that it counts
    so in all of them. Where another conversion has one, this one lacks it.
    """
    figures = {
        each.segment_id: each
        for each in results.figures
        if (each.hardware, each.conversion) == (deployment.hardware, deployment.conversion)
    }
    tried = {each.segment_id for each in results.figures if each.hardware == deployment.hardware}
    found: dict[str, Latency] = {}
    failed: dict[str, str] = {}
    for family in _families(workload.pieces.values()):
        points = [(segment, latency) for segment in family if (latency := _measured(figures.get(segment.segment_id)))]
        broken = next((each for segment in family if (each := figures.get(segment.segment_id)) and _lost(each)), None)
        sent = [segment for segment in family if segment.segment_id in tried]
        for segment in family:
            own = figures.get(segment.segment_id)
            if latency := _measured(own):
                found[segment.segment_id] = latency
            elif own:
                failed[segment.segment_id] = own.message or str(own.failure or own.status)
            elif segment.segment_id in tried:
                failed[segment.segment_id] = NOT_MEASURED
            elif segment.segment_id in results.counted_as_eager or not _between(segment, sent):
                found[segment.segment_id] = _as_recorded(segment)
            elif broken:
                failed[segment.segment_id] = f"another size of it: {broken.message or broken.failure or broken.status}"
            elif _between(segment, [each for each, _ in points]):
                found[segment.segment_id] = _interpolated(points, segment.size)
            else:
                failed[segment.segment_id] = NOT_MEASURED
    return Latencies(found, failed, figures)


def best_of_each(every: Iterable[Latencies], writing: Collection[str] = ()) -> dict[str, Latency]:
    """Return the shortest latency of each segment over the conversions of one machine.

    Args:
        every: What the segments take in each conversion.
        writing: Segments of which only eager counts, since no check compares what they write to their inputs.
    """
    best: dict[str, Latency] = {}
    for latencies_of_one in every:
        for segment, latency in latencies_of_one.of.items():
            if segment in writing and latency.conversion != EAGER:
                continue
            if segment not in best or latency.ms < best[segment].ms:
                best[segment] = latency
    return best


def size_checks(workload: Workload, results: ProfileResults, every: Mapping[Deployment, Latencies]) -> list[SizeCheck]:
    """Return how far interpolation is off where a size was measured to check it."""
    checks = []
    sent = [each for each in workload.pieces.values() if each.segment_id not in results.counted_as_eager]
    for chosen in grids(sent):
        if (check := chosen.check) is None:
            continue
        for deployment, known in every.items():
            with_time = [each for each in chosen.measured if _measured(known.figures.get(each.segment_id))]
            points = [(each, known.of[each.segment_id]) for each in with_time]
            figure = known.figures.get(check.segment_id)
            if figure and figure.latency_ms and len(points) == len(chosen.measured):
                expected = _interpolated(points, check.size).ms
                checks.append(
                    SizeCheck(
                        check.family,
                        check.segment_id,
                        deployment.hardware,
                        deployment.conversion,
                        expected,
                        figure.latency_ms,
                    )
                )
    return checks


def _families(segments: Iterable[Piece]) -> list[list[Piece]]:
    families: dict[str, list[Piece]] = {}
    for each in segments:
        families.setdefault(each.family, []).append(each)
    return list(families.values())


def _measured(figure: SegmentFigure | None) -> Latency | None:
    if figure is None or not figure.latency_ms:
        return None
    return Latency(figure.latency_ms, figure.low_ms, figure.high_ms, figure.conversion)


def _lost(figure: SegmentFigure) -> bool:
    return not figure.latency_ms


def _between(segment: Piece, others: list[Piece]) -> bool:
    """Whether there are other sizes on both sides."""
    sizes = [each.size for each in others]
    return bool(sizes) and min(sizes) <= segment.size <= max(sizes)


def _interpolated(points: list[tuple[Piece, Latency]], size: float) -> Latency:
    def at(end: str) -> float | None:
        known = [(segment.size, value) for segment, latency in points if (value := getattr(latency, end))]
        return interpolate(known, size) if len(known) == len(points) else None

    middle = interpolate([(segment.size, latency.ms) for segment, latency in points], size)
    return replace(points[0][1], ms=middle, low=at("low"), high=at("high"), interpolated=True)


def _as_recorded(segment: Piece) -> Latency:
    return Latency(segment.eager_ms, segment.eager_low_ms, segment.eager_high_ms, EAGER, recorded=True)
