"""Samples that are left out of the figures, since the process or the machine stood still meanwhile."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from almaflow.stats import calls_at_once, explained_by_stops

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from almaflow.records import Measurement, Round


def rounds_with_samples(measured: Measurement) -> list[tuple[Round, tuple[float, ...]]]:
    """Return each round with its samples that count; one that was no more than a stop has none."""
    return [
        (each, tuple(sample for index, sample in enumerate(samples) if index not in stopped))
        for each, samples, stopped in _rounds(measured)
    ]


def steady_rounds(measured: Measurement) -> list[Round]:
    """Return the rounds without a stop, whose length means something; all where there is none."""
    steady = [each for each, _, stopped in _rounds(measured) if not stopped]
    return steady or list(measured.rounds)


def counted_samples(measured: Measurement) -> Sequence[float]:
    """Return the samples that count, in milliseconds, in their order."""
    if not _any_stop(measured):
        return measured.samples_ms
    out = left_out(measured)
    return [sample for index, sample in enumerate(measured.samples_ms) if index not in out]


def left_out(measured: Measurement) -> frozenset[int]:
    """Return the positions of the samples that do not count."""
    first, found = 0, set()
    for each, _, stopped in _rounds(measured):
        found |= {first + index for index in stopped}
        first += each.count
    return frozenset(found)


def note_of_stops(measured: Measurement) -> str | None:
    """Tell how many samples are left out, and how long they took in all; None where all count."""
    out = left_out(measured)
    if not out:
        return None
    seconds = sum(measured.samples_ms[index] for index in out) / 1000
    calls = f"{len(out)} calls" if len(out) > 1 else "1 call"
    return f"{calls} of {seconds:.1f} s in all left out of the figures: the process or the machine was stopped"


def _rounds(measured: Measurement) -> Iterator[tuple[Round, tuple[float, ...], frozenset[int]]]:
    """Give each round, its samples, and the positions among them that a stop explains."""
    usual_ms = median(measured.samples_ms) if _any_stop(measured) else 0.0
    first = 0
    for each in measured.rounds:
        samples = measured.samples_ms[first : first + each.count]
        first += each.count
        stops_s = each.state.stops_s if each.state else ()
        yield each, samples, explained_by_stops(samples, stops_s, usual_ms, calls_at_once(samples, each.wall_s))


def _any_stop(measured: Measurement) -> bool:
    return any(each.state and each.state.stops_s for each in measured.rounds)
