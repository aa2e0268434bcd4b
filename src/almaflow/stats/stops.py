"""Samples that a stop from outside explains: a paused machine, SIGSTOP, no processor for seconds.

Such a sample says how long the stop was, not how long the call takes. A mean over a thousand calls of 5 ms and one of
30 s says 35 ms. Long samples alone prove nothing, since a call may be long for its own reasons. So a sample is left out
only where the parent saw a stop in the same round (``processes.stops``), and where the sample is longer than a usual
one by just that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARES = (0.6, 1.25)
"""What a stop adds to a sample, at least and at most, as shares of what was seen of it. Half a second, the shortest
that is told, is seen to 0.2 s; after a stop, caches, clocks and other threads are not at once where they were."""

SLACK_S = 0.3
"""Seconds that may come on top: a call that was stopped may have been among the longer ones."""

LONGER = 1.5
"""How many times as long as the median a sample has to be; below that the stop does not matter to the mean."""


def explained_by_stops(
    samples_ms: Sequence[float], stops_s: Sequence[float], usual_ms: float, at_once: int = 1
) -> frozenset[int]:
    """Return the positions of the samples of one round that are as long as they are for a stop.

    Args:
        samples_ms: The round's samples.
        stops_s: The stops that were seen during the round, in seconds.
        usual_ms: What a call usually takes: the median over all rounds.
        at_once: How many calls ran at the same time: a stop is in as many samples, at most.
    """
    found: set[int] = set()
    least, most = SHARES
    for stop_s in sorted(stops_s, reverse=True):
        added_s = {
            index: (sample - usual_ms) / 1000
            for index, sample in enumerate(samples_ms)
            if index not in found and sample >= LONGER * usual_ms
        }
        near = [each for each in added_s if least * stop_s <= added_s[each] <= most * stop_s + SLACK_S]
        found.update(sorted(near, key=lambda each: abs(added_s[each] - stop_s))[:at_once])
    return frozenset(found)


def calls_at_once(samples_ms: Sequence[float], wall_s: float) -> int:
    """Return how many calls ran at the same time during a round of that length."""
    return max(1, round(sum(samples_ms) / 1000 / wall_s)) if wall_s > 0 else 1
