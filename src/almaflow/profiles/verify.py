"""Repeats calls of a session with the best conversion of each segment in place: is the best total what it takes?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.conversions.catalogue.plan import plan
from almaflow.errors import TrackingError, UsageError
from almaflow.machine.lock import alone
from almaflow.profiles.latencies import best_of_each, deployments, latencies
from almaflow.profiles.totals import total_of_others
from almaflow.profiles.track import track
from almaflow.profiles.workload import CallCut
from almaflow.records.clock import now
from almaflow.records.plan import EAGER
from almaflow.records.profile_results import Verification
from almaflow.segments.settings import check_counts
from almaflow.stats import series_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from almaflow.profiles.files import MeasuredFiles
    from almaflow.profiles.totals import Latency
    from almaflow.profiles.workload import FunctionCalls, Workload
    from almaflow.records import PlannedConversion
    from almaflow.records.profile import Segment
    from almaflow.records.profile_results import ProfileResults
    from almaflow.segments.repeat import Repeated
    from almaflow.segments.session import ProfilingSession

ROUNDS = 15
"""How often the calls are repeated in each of both ways."""


@dataclass(frozen=True)
class Mix:
    """What each segment of a session is to run in."""

    planned: dict[str, PlannedConversion]
    """By the ID of the segment; one that is absent runs eagerly."""
    threads: int | None
    """Those that the segments were measured with; None where it is unknown."""
    best: dict[str, Latency]
    eager: dict[str, Latency]
    notes: tuple[str, ...]
    """Which segments run eagerly although another conversion is faster, and why."""
    written: dict[str, tuple[int, ...]]
    """Inputs that segments write to, by their IDs."""

    def used(self, ran: Mapping[str, str]) -> dict[str, Latency]:
        """Return what each segment takes in what it ran in."""
        found = {name: (self.eager if how == EAGER else self.best).get(name) for name, how in ran.items()}
        return {name: each for name, each in found.items() if each}


def verify(
    session: ProfilingSession, files: MeasuredFiles, uri: str, rounds: int, tell: Callable[[str], None]
) -> tuple[Verification, ...]:
    """Repeat the newest calls of each function of a session, and keep what that gave in its results.

    Args:
        session: One that has ended, in the process that recorded it.
        files: Its files.
        uri: A resolved store.
        rounds: How often the calls are repeated.
        tell: Gets lines for people.

    Raises:
        UsageError: nothing was measured, or no call is known whose arguments could be used again.
        AlmaflowError: another process measures the session.
        Exception: whatever the application raises.
    """
    from almaflow.segments.repeat import own_threads, repeat
    from almaflow.segments.stitched import Conversions, Stitched

    check_counts(rounds=rounds)
    if not session.is_here:
        message = "verify: the session was recorded in another process; call it where the application ran"
        raise UsageError(message)
    workload, results = files.workload(), files.results()
    mix = best_mix({each.segment_id: each for each in files.profile().segments}, workload, results)
    if not session.calls.newest:
        message = "verify: no call of a marked function came to its end, so none can be repeated"
        raise UsageError(message)
    found = []
    with files.locked(), alone("wait", tell), own_threads(mix.threads) as told:
        for marked, given in session.calls.newest.items():
            name = session.calls.names[marked]
            notes = [*told, *mix.notes]
            conversions = Conversions(mix.planned, notes.append, mix.written)
            with Stitched(
                conversions, no_grad=session.no_grad, recompile_limit=session.recompile_limit, note=notes.append
            ) as stitched:
                repeated = repeat(marked, tuple(given), stitched, rounds)
            function = next(each for each in workload.functions if each.function == name)
            found.append(_verification(function, repeated, conversions.ran, mix, tuple(notes)))
            results = files.results()  # written at once: the next function may raise
            others = [each for each in results.verifications if each.function != name]
            files.write_results(replace(results, verifications=(*others, found[-1]), tracked=False))
            tell(f"{name}: repeated {len(given)} calls in place, {found[-1].measured_ms:.4g} ms")
    try:
        track(files, uri)
    except TrackingError as error:
        tell(str(error))
    return tuple(found)


def best_mix(segments: Mapping[str, Segment], workload: Workload, results: ProfileResults) -> Mix:
    """Return the best conversion of each segment, with what it takes in it and eagerly.

    Args:
        segments: The records of the segments, by their IDs.
        workload: The session.
        results: What was measured of it.

    Raises:
        UsageError: nothing was measured.
    """
    results, _ = results.comparable()
    every = deployments(results)
    every = [each for each in every if each.hardware not in results.elsewhere]  # it runs here
    # Segments of one machine: a mix of several would run nowhere. The last one is the one that the report shows.
    known = {each: latencies(workload, results, each) for each in every if each.hardware == every[-1].hardware}
    if not known:
        message = (
            f"verify: nothing was measured here yet: almaflow profile measure {workload.profile_id} local/ONNX_CPU"
        )
        raise UsageError(message)
    writing = {name for name, piece in workload.pieces.items() if piece.writes}
    best = best_of_each(known.values(), writing)
    eager = next((found.of for each, found in known.items() if each.conversion == EAGER), {})
    odd = {name: why for name, each in segments.items() if (why := _odd(each)) and name in best}
    wanted = {name: each.conversion for name, each in best.items() if each.conversion != EAGER and name not in odd}
    device = "cuda" if machine.has_cuda() else "cpu"
    plans = {name: plan([name], 1, device, allow_device_override=False)[0] for name in dict.fromkeys(wanted.values())}
    notes = tuple(f"segment {name} runs eagerly: {why}" for name, why in odd.items() if best[name].conversion != EAGER)
    threads = results.threads.get(every[-1].hardware)
    written = {name: segments[name].written for name in wanted if segments[name].written}
    return Mix({name: plans[conversion] for name, conversion in wanted.items()}, threads, best, eager, notes, written)


def _odd(segment: Segment) -> str | None:
    """Return why the answers of a segment in another conversion could not be told from wrong ones."""
    if segment.random:
        return "it draws at random"
    return "it writes to its weights" if segment.stateful else None


def _verification(
    function: FunctionCalls, repeated: Repeated, ran: Mapping[str, str], mix: Mix, notes: tuple[str, ...]
) -> Verification:
    calls = [CallCut(call.sequence, None) for call in repeated.calls]
    made = total_of_others(function.calls, calls, mix.used(ran))
    interval = series_interval(repeated.rounds_ms)
    agreed = repeated.agreement
    if unknown := len({name for call in calls for name in call.segments} - {*mix.best}):
        what = "1 graph" if unknown == 1 else f"{unknown} graphs"
        notes += (f"{what} ran eagerly that the session had not recorded at this size",)
    return Verification(
        function.function,
        dict(ran),
        calls=len(calls),
        rounds=len(repeated.rounds_ms),
        measured_ms=median(repeated.rounds_ms),
        low_ms=interval.low if interval else None,
        high_ms=interval.high if interval else None,
        eager_ms=median(repeated.eager_rounds_ms),
        predicted_ms=made.ms if made else None,
        python_ms=repeated.python_ms,
        predicted_python_ms=made.python_ms if made else None,
        ok=agreed.reason is None,
        reason=agreed.reason,
        fidelity_db=agreed.fidelity.sqnr_db if agreed.fidelity else None,
        equal_share=agreed.equal_share,
        notes=notes,
        ended_at=now(),
    )
