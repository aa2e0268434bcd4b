"""Floors of short calls on a machine that others may use: the lowest of several moments."""

from __future__ import annotations

from statistics import quantiles
from time import perf_counter, perf_counter_ns
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

VISITS, VISIT_US = 8, 10_000.0
"""Moments, and microseconds of calls at each."""
FEWEST, MOST = 4, 200


def floor(samples: Sequence[float]) -> float:
    """Return the lower quartile: the sum of many shortest calls would be shorter than any call of their model."""
    return quantiles(samples, n=4, method="inclusive")[0]


def samples_until(call: Callable[[], float], until_us: float, fewest: int = FEWEST, most: int = MOST) -> list[float]:
    """Return what calls return, for so many microseconds."""
    samples: list[float] = []
    until = perf_counter() + until_us / 1e6
    while len(samples) < fewest or (len(samples) < most and perf_counter() < until):
        samples.append(call())
    return samples


def shortest_us(call: Callable[[], Any]) -> float:
    """Return the lowest floor of several moments.

    Args:
        call: What to time; a number that it returns is taken as its microseconds.
    """

    def timed() -> float:
        started = perf_counter_ns()
        result = call()
        return result if isinstance(result, float) else (perf_counter_ns() - started) / 1000

    timed()
    return min(floor(samples_until(timed, VISIT_US)) for _ in range(VISITS))
