"""The time that a worker has had: what counts against its budget, and how much of it others were at work beside it."""

from __future__ import annotations

import time

from almaflow.processes.stops import StopWatch


class WorkingTime:
    """Counts only while somebody waits for the worker, and not while it stood still for a reason outside of it.

    Beside n others a second counts as 1 / (n + 1). So a worker that would be done in time by itself is done in time
    beside them, too, and one that hangs is ended at the latest when nobody else is left to wait for.

    Args:
        pid: The worker's process.
        budget_s: Seconds that it may take.
    """

    def __init__(self, pid: int, budget_s: float) -> None:
        self.stops = StopWatch(pid)
        self.left_s = budget_s
        """What is left of the budget; negative once it is spent."""
        self._seen_s = 0.0
        self._preparing_s, self._beside_s = 0.0, 0.0

    @property
    def prepared_beside(self) -> float:
        """How many others prepared at the same time, as a mean over the time until the worker was prepared."""
        return self._beside_s / self._preparing_s if self._preparing_s else 0.0

    def resume(self) -> None:
        """Begin a series of looks: the time until the first of them counts, what was before does not."""
        self.stops.resume()
        self._seen_s = time.monotonic() - self.stops.total_s

    def look(self, late_s: float, *, beside: int, preparing: bool) -> None:
        """Count the time since the last look.

        Args:
            late_s: Seconds by which the parent woke up later than it had asked for.
            beside: The number of others that work at the same time.
            preparing: Whether the worker was on its way to its first round.
        """
        self.stops.look(late_s)
        before_s, self._seen_s = self._seen_s, time.monotonic() - self.stops.total_s
        passed_s = self._seen_s - before_s
        self.left_s -= passed_s / (beside + 1)
        if preparing:
            self._preparing_s += passed_s
            self._beside_s += passed_s * beside
