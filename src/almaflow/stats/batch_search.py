"""Search for the batch size from which on throughput no longer grows, or the largest that keeps to a limit.

Sizes are doubled until throughput stops growing, a limit is broken, or there is no larger size. Then the interval in
which the answer lies is halved. Three rules keep noise from ending the search early. Throughput is compared by floors,
which repeat. A single doubling that gains nothing ends nothing. Whatever is about to end it is timed once more first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

GAIN = 0.05
"""Share by which throughput has to grow to count as growing. Floors repeat to 2 or 3% on a shared machine."""

FLAT_STEPS = 2
"""Doublings that have to gain nothing, both together, before the search goes no further."""

RESOLUTION = 8
"""The answer is exact to this part of itself, and to 1 below twice as much."""


@dataclass(frozen=True)
class Trial:
    """One batch size that was timed, or could not be."""

    batch: int
    call_ms: float
    """Floor of the time of one call; infinite where there was none."""
    over: str | None = None
    """The limit that it does not keep to, or why it cannot be run; None where it fits."""
    close: bool = False
    """Whether it is so near to the limit that more calls may tell otherwise."""

    @property
    def rate(self) -> float:
        """Samples per second; infinite where the clock is too coarse for the call."""
        return 1000 * self.batch / self.call_ms if self.call_ms > 0 else float("inf")


@dataclass(frozen=True)
class FoundBatch:
    """The answer of a search."""

    batch: int | None
    """None where not even the smallest size fits."""
    reason: str
    """Why it is no larger one."""


def search_batch(measure: Callable[[int], Trial], low: int, high: int) -> FoundBatch:
    """Return the smallest batch whose throughput is within ``GAIN`` of the highest that keeps to the limits.

    Args:
        measure: Times a batch size. Called again for the same one, it adds further calls to those that it has.
        low: The smallest size.
        high: The largest one.
    """
    return _Search(measure, low, high).run()


class _Search:
    def __init__(self, measure: Callable[[int], Trial], low: int, high: int) -> None:
        self._measure, self._low, self._high = measure, low, high
        self._trials: dict[int, Trial] = {}

    def run(self) -> FoundBatch:
        broken = self._climb()
        if broken is not None:
            broken = self._largest_that_fits(broken)
        if not self._fitting():
            return FoundBatch(None, f"at {self._low} already: {self._trials[self._low].over}")
        batch = self._fewest_for_the_highest()
        if batch < max(self._fitting()):
            return FoundBatch(batch, f"throughput grows by less than {GAIN:.0%} up to {max(self._fitting())}")
        if broken is not None:
            return FoundBatch(batch, f"at {broken}: {self._trials[broken].over}")
        return FoundBatch(batch, f"{self._high} is the largest that is tried")

    def _time(self, batch: int) -> Trial:
        trial = self._trials[batch] = self._measure(batch)
        if trial.over and trial.close:
            trial = self._trials[batch] = self._measure(batch)
        return trial

    def _fitting(self) -> dict[int, float]:
        """Return the throughput of the sizes that fit."""
        return {batch: trial.rate for batch, trial in self._trials.items() if not trial.over}

    def _climb(self) -> int | None:
        """Double the size, and return the one that does not fit, if there is one."""
        batch, highest = self._low, 0.0
        flat: list[int] = []
        while True:
            if self._time(batch).over:
                return batch
            flat.append(batch)
            if self._grown(flat, highest) or (len(flat) >= FLAT_STEPS and self._grown_after_all(flat, highest)):
                highest, flat = max(self._fitting().values()), []
            if over := [each for each in flat if self._trials[each].over]:  # as further calls have told
                return min(over)
            if batch >= self._high or len(flat) >= FLAT_STEPS:
                return None
            batch = min(2 * batch, self._high)

    def _grown(self, batches: list[int], highest: float) -> bool:
        return any(self._trials[batch].rate >= (1 + GAIN) * highest for batch in batches)

    def _grown_after_all(self, batches: list[int], highest: float) -> bool:
        """Time again what seems to gain nothing: a busy moment looks the same."""
        for batch in batches:
            self._trials[batch] = self._measure(batch)
        return self._grown([batch for batch in batches if not self._trials[batch].over], highest)

    def _largest_that_fits(self, broken: int) -> int:
        """Halve the interval between the largest size that fits and ``broken``; return the smallest that does not."""
        while (fits := max(self._fitting(), default=0)) and not _close(fits, broken):
            middle = (fits + broken) // 2
            if self._time(middle).over:
                broken = middle
        return broken

    def _fewest_for_the_highest(self) -> int:
        """Halve the interval below the smallest size that has the highest throughput."""
        below = 0
        while True:
            rates = self._fitting()
            enough = min(batch for batch, rate in rates.items() if rate >= (1 - GAIN) * max(rates.values()))
            below = max([below, *(batch for batch in self._trials if batch < enough)])
            if not below or below >= enough or _close(below, enough):
                return enough
            if self._time(middle := (below + enough) // 2).over:
                below = middle


def _close(lower: int, upper: int) -> bool:
    return upper - lower <= max(1, lower // RESOLUTION)
