"""Times single calls of PyTorch's operators on the CPU. Imports torch: for workers only.

In a model, what an operator computes on was written just before, and its weights were read a whole call ago. They are
still in a cache only if the model has few of them. So each operator is timed twice, on several sets of weights in turn
and on the same activations: a *warm* time with sets that exceed the cache of a core, and a *cold* time with sets that
exceed all caches.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import torch

from almaflow.worker.operators.aten_calls import AtenCall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from almaflow.records.operators import Operator

CORE_CACHE_BYTES = 3 * 2**20
"""More than the second level of most processors holds for one core."""
POOL_BYTES = 128 * 2**20
"""More than the last level of most processors holds."""
SOME_WEIGHTS = 2**14
"""Bytes of weights below which it does not matter where they are."""
MOST_SETS = 512
BATCH_S, TIME_S = 0.0004, 0.02
"""Seconds of one batch of calls that are timed together, and of all batches of one operator, warm and again cold."""
FEWEST = 5
"""Batches; a call that takes longer than a batch is one."""
FLOOR = 0.1
"""The quantile of the batches that counts: it repeats, and unlike the minimum it is no single lucky one."""


class AtenTimer:
    """Times operators one after the other."""

    def __init__(self) -> None:
        # What operators in place leave behind after many calls would otherwise be denormal.
        torch.set_flush_denormal(True)
        self._pool = torch.rand(POOL_BYTES // 4) + 0.1

    def time(self, operator: Operator) -> tuple[float, float | None, float]:
        """Return warm and cold microseconds of an operator, and how far its lowest time is from the middle one.

        Raises:
            Exception: the operator does not take the tensors of its description.
        """
        weights = operator.weight_bytes
        with torch.no_grad():
            if weights <= SOME_WEIGHTS:
                warm = _times_us(AtenCall(operator))
                cold = None
            else:
                enough, all_sets = (max(1, int(-(-size // weights))) for size in (CORE_CACHE_BYTES, POOL_BYTES))
                warm = _times_us(AtenCall(operator, self._pool[: enough * int(weights)], min(MOST_SETS, enough)))
                cold = _times_us(AtenCall(operator, self._pool, min(MOST_SETS, all_sets)))
        floor = at_quantile(warm, FLOOR)
        return floor, None if cold is None else max(floor, at_quantile(cold, FLOOR)), at_quantile(warm, 0.5) / floor - 1


def _times_us(call: AtenCall) -> list[float]:
    """Return the microseconds of one call, from batches of calls that take the sets of weights in turn."""
    function, sets = call.function, call.sets
    for args, kwargs in sets[:2]:
        function(*args, **kwargs)
    once = _elapsed_ns(function, sets[:1])
    size = max(1, round(BATCH_S * 1e9 / max(once, 1)))
    times: list[float] = []
    began, at = perf_counter_ns(), 0
    while len(times) < FEWEST or perf_counter_ns() - began < TIME_S * 1e9:
        batch = [sets[(at + index) % len(sets)] for index in range(size)]
        at += size
        times.append(_elapsed_ns(function, batch) / size / 1000)
    return times


def _elapsed_ns(function: Callable[..., Any], calls: Sequence[tuple[list[Any], dict[str, Any]]]) -> int:
    started = perf_counter_ns()
    for args, kwargs in calls:
        function(*args, **kwargs)
    return perf_counter_ns() - started


def at_quantile(times: Sequence[float], share: float) -> float:
    """Return the time below which this share of them is."""
    return sorted(times)[int(share * (len(times) - 1))]
