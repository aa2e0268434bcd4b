"""Warms up, and times the calls of one round: one synchronised wall clock around every single forward call.

Only the steady state is timed here. The worker keeps it apart from the other phases, and the parent decides how many
rounds there are (``rounds``).
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter_ns, process_time_ns
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from almaflow.records import MeasureSpec
    from almaflow.records.protocol import RoundRequest

WARMUP_SHARE = 0.25
"""Share of ``max_time_s`` that may go into warming up: slow conversions are warm after fewer calls than asked."""

WARMUP_WINDOW = 5
"""Number of calls whose quickest is compared with the quickest before."""

STILL_FALLING = 0.02
"""Share by which the quickest call of a window may be quicker than those before it once they are warm. The minimum of a
few calls repeats to 2 or 3% on a shared machine where their median moves by 10%, so noise does not look like warming
up."""

REFILL_S = 0.03
"""Duration of the untimed calls at the start of a round, at least one: another worker's data is in the caches, and the
clock may have dropped."""

NO_REFILL_S = 0.3
"""Duration of a call from which on no untimed call precedes it: it fills its caches in a negligible part of itself."""


def nothing(_index: int) -> None:
    """Prepare nothing: most models leave their inputs and themselves as they are."""


@dataclass(frozen=True)
class Taken:
    """The timed calls of one round."""

    samples_ms: tuple[float, ...]
    """Wall time of each call, in the order in which the calls ended."""
    wall_s: float
    cpu_s: float
    """Processor time of the whole process meanwhile."""


def warm_up(
    call: Callable[[int], object],
    synchronize: Callable[[], None],
    spec: MeasureSpec,
    prepare: Callable[[int], None] = nothing,
) -> int:
    """Call until the calls stop getting quicker, and return how many calls that took.

    They have stopped when the quickest of a window of ``WARMUP_WINDOW`` calls is at most ``STILL_FALLING`` quicker than
    the quickest before it. ``warmup_calls`` and ``warmup_time_s`` are minima; both 0 ask for no warm-up. It ends in any
    case after a quarter of ``max_time_s``, or after ``warmup_time_s`` if that is longer.
    """
    if not spec.warmup_calls and not spec.warmup_time_s:
        return 0
    budget_ns = int(max(spec.warmup_time_s, WARMUP_SHARE * spec.max_time_s) * 1e9)
    count, quickest, window = 0, 0, []
    begin = now = perf_counter_ns()
    while now - begin < budget_ns:
        prepare(count)
        started = perf_counter_ns()
        call(count)
        synchronize()
        now = perf_counter_ns()
        count += 1
        window.append(now - started)
        if len(window) < WARMUP_WINDOW:
            continue
        settled = quickest > 0 and min(window) >= (1 - STILL_FALLING) * quickest
        if settled and count >= spec.warmup_calls and now - begin >= spec.warmup_time_s * 1e9:
            break
        quickest = min(quickest or window[0], *window)
        window = []
    return count


def refill(
    call: Callable[[int], object],
    synchronize: Callable[[], None],
    last_s: float,
    prepare: Callable[[int], None] = nothing,
) -> None:
    """Make untimed calls before a round, unless one alone takes ``NO_REFILL_S`` or more.

    Args:
        call: One forward call on the i-th batch.
        synchronize: Waits for the device.
        last_s: The seconds that the last call took.
        prepare: Called with the number of each call before it.
    """
    begin, count = perf_counter_ns(), 0
    # The last one goes beyond it by half a call at most: one of 25 ms is not made twice for the sake of 5 ms.
    while last_s < NO_REFILL_S and (count == 0 or (perf_counter_ns() - begin) / 1e9 + last_s / 2 <= REFILL_S):
        prepare(count)
        call(count)
        synchronize()
        count += 1


def take(
    call: Callable[[int], object],
    synchronize: Callable[[], None],
    turn: RoundRequest,
    first: int = 0,
    prepare: Callable[[int], None] = nothing,
) -> Taken:
    """Time ``call(first)``, ``call(first + 1)`` ... until the turn's minima are reached or its maximum is crossed.

    Args:
        call: One forward call on the i-th batch.
        synchronize: Waits for the device; called before the clock is read, on both sides of the call.
        turn: The minima and the maximum.
        first: The number of the first call.
        prepare: Called with the number of each call before the clock is read for it.
    """
    samples_ns: list[int] = []
    minimum_ns, maximum_ns = int(turn.min_time_s * 1e9), int(turn.max_time_s * 1e9)
    with no_garbage_collection():
        synchronize()
        cpu = process_time_ns()
        begin = perf_counter_ns()
        while True:
            number = first + len(samples_ns)
            prepare(number)
            synchronize()
            started = perf_counter_ns()
            call(number)
            synchronize()
            ended = perf_counter_ns()
            samples_ns.append(ended - started)
            elapsed = ended - begin
            if elapsed >= maximum_ns or (len(samples_ns) >= turn.min_calls and elapsed >= minimum_ns):
                break
        cpu = process_time_ns() - cpu
    return Taken(tuple(sample / 1e6 for sample in samples_ns), elapsed / 1e9, cpu / 1e9)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep the collector off: a collection in the middle of a call is noise of ours, not of the model."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
