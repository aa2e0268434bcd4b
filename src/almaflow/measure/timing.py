"""The timing loop: one synchronised wall clock around every single forward call.

Phases are kept apart by the worker: what is timed here is the steady state only. The loop stops when it has a
minimum count *and* a minimum time, or when its time budget ends; a budget that ends first, or a wide spread,
makes the figure unstable, never an error. The criterion for stability, IQR / median below 0.1, is that of
``torch.utils.benchmark.Timer.adaptive_autorange``.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from almaflow.records import MeasureSpec

STABLE_IQR_OVER_MEDIAN = 0.1
"""Above it the median is not to be compared at the per cent level."""

WARMUP_SHARE = 0.25
"""Of the steady state's time budget: slow conversions are warm after fewer calls than asked."""


@dataclass(frozen=True)
class Timing:
    """Single-call wall times in milliseconds, in the order they were taken."""

    samples_ms: tuple[float, ...]
    warmup_calls: int
    complete: bool
    """The minimum count and time were reached before the budget ended."""


def measure(
    call: Callable[[int], object],
    synchronize: Callable[[], None],
    spec: MeasureSpec,
    on_warm: Callable[[], None] = lambda: None,
) -> Timing:
    """Time ``call(i)`` for i = 0, 1, 2 ... until ``spec`` is satisfied.

    Args:
        call: One forward call on the i-th batch.
        synchronize: Waits for the device; called before the clock is read, on both sides of the call.
        spec: Counts and times; ``max_time_s`` ends the loop after the call that crosses it.
        on_warm: Called between warm-up and the first timed call.
    """
    warmup_calls = _warm_up(call, synchronize, spec)
    on_warm()
    samples_ns: list[int] = []
    budget_ns = int(spec.max_time_s * 1e9)
    minimum_ns = int(spec.min_time_s * 1e9)
    with _no_garbage_collection():
        synchronize()
        begin = perf_counter_ns()
        while True:
            started = perf_counter_ns()
            call(len(samples_ns))
            synchronize()
            ended = perf_counter_ns()
            samples_ns.append(ended - started)
            elapsed = ended - begin
            complete = len(samples_ns) >= spec.min_samples and elapsed >= minimum_ns
            if complete or elapsed >= budget_ns:
                break
    return Timing(tuple(sample / 1e6 for sample in samples_ns), warmup_calls, complete)


def _warm_up(call: Callable[[int], object], synchronize: Callable[[], None], spec: MeasureSpec) -> int:
    count = 0
    begin = perf_counter_ns()
    while True:
        elapsed_s = (perf_counter_ns() - begin) / 1e9
        if count >= spec.warmup_calls and elapsed_s >= spec.warmup_time_s:
            return count
        if elapsed_s >= max(spec.warmup_time_s, WARMUP_SHARE * spec.max_time_s):
            return count
        call(count)
        synchronize()
        count += 1


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A collection in the middle of a call is noise of ours, not of the model."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
