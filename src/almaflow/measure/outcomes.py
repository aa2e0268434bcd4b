"""Makes the outcome of one conversion from what its processes left."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, islice, repeat
from statistics import median
from typing import TYPE_CHECKING

from almaflow.analysis.stops import note_of_stops
from almaflow.measure.interleave import settled
from almaflow.records import Failure, FailureKind, Measurement, Outcome, PlannedConversion, Status
from almaflow.records.clock import now
from almaflow.records.protocol import RoundReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.measure.interleave import MeasuredWorker
    from almaflow.processes.worker_handle import WorkerExit


def with_states(measurement: Measurement | None, worker: MeasuredWorker) -> Measurement | None:
    """Add the machine's state in each round, and whether the measurement settled."""
    if measurement is None:
        return None
    # A worker that was ended in the middle of a round has left fewer rounds than it was given turns; one more where an
    # interrupt came before its parent had heard of the last one.
    states = chain(worker.states, repeat(None))
    rounds = [replace(each, state=state) for each, state in zip(measurement.rounds, states, strict=False)]
    return replace(measurement, rounds=tuple(rounds), stable=settled(worker.spec, worker.reports))


def reports_of(measurement: Measurement) -> list[RoundReport]:
    """Return what the worker reported of each round of the measurement."""
    samples = iter(measurement.samples_ms)
    return [RoundReport(each.count, median(islice(samples, each.count)), each.wall_s) for each in measurement.rounds]


def outcome_of(  # noqa: PLR0913 - what is known of one conversion at its end
    planned: PlannedConversion,
    started_at: float,
    before: Sequence[Measurement],
    last: Measurement | None,
    exit_state: WorkerExit | None,
    *,
    interrupted: bool = False,
) -> Outcome:
    """Make the outcome of a conversion.

    Args:
        planned: The conversion.
        started_at: When its first process was started, in seconds since the epoch.
        before: Measurements of the processes that ended well.
        last: The last process's measurement, if it got so far.
        exit_state: How the last process ended, and its result; None where there was none.
        interrupted: It was ended before all that was asked for was measured. What was checked and timed by then is
            kept and does not count; a failure is one all the same.
    """
    failure = exit_state.result.failure if exit_state else None
    if exit_state and exit_state.result.bad_input:
        failure = Failure(FailureKind.ERROR, exit_state.result.bad_input, exit_state.phase)
    timed = [each for each in (*before, last) if each is not None and each.rounds and each.fidelity]
    measurement = _noted(merged(timed) if timed else last)
    ok = failure is None and bool(timed) and not interrupted
    return Outcome(
        planned=planned,
        status=Status.OK if ok else Status.FAILED,
        started_at=started_at,
        ended_at=now(),
        measurement=measurement,
        failure=failure,
        interrupted=interrupted and failure is None,
    )


def _noted(measurement: Measurement | None) -> Measurement | None:
    """Add a note where samples are left out of the figures."""
    note = note_of_stops(measurement) if measurement else None
    return replace(measurement, notes=(*measurement.notes, note)) if measurement and note else measurement


def merged(measurements: Sequence[Measurement]) -> Measurement:
    """Join the measurements of fresh processes of the same conversion.

    Samples and rounds are put one behind the other; the times to load and convert, and the fidelity, are the first
    process's, since later ones may use what it compiled. The peak of memory is the highest.
    """
    first = measurements[0]
    if len(measurements) == 1:
        return first
    peaks = [each.peak_memory_mb for each in measurements if each.peak_memory_mb is not None]
    recompiles = [each.recompiles for each in measurements if each.recompiles is not None]
    return replace(
        first,
        samples_ms=tuple(chain.from_iterable(each.samples_ms for each in measurements)),
        rounds=tuple(chain.from_iterable(each.rounds for each in measurements)),
        device_samples_ms=tuple(chain.from_iterable(each.device_samples_ms for each in measurements)),
        total_s=sum(each.total_s for each in measurements),
        warmup_calls=sum(each.warmup_calls for each in measurements),
        stable=all(each.stable for each in measurements),
        peak_memory_mb=max(peaks, default=None),
        recompiles=max(recompiles, default=None),
        export_mb=measurements[-1].export_mb,  # the last process writes the model
        not_kept=measurements[-1].not_kept,
        notes=tuple(dict.fromkeys(chain.from_iterable(each.notes for each in measurements))),
    )
