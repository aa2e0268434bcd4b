"""How long a job may still take, from what it has done so far."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from almaflow.records import MeasureSpec, PlannedConversion


class Estimate:
    """Keeps the books of a job. Every field is replaced whole, never changed, since a display's thread reads them."""

    def __init__(
        self,
        plan: Sequence[PlannedConversion] = (),
        measure: MeasureSpec | None = None,
        estimate_s: Mapping[str, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin.

        Args:
            plan: What is planned.
            measure: How long the timed calls take.
            estimate_s: Seconds that a conversion is expected to take until it is ready, by name.
            clock: Seconds from any origin.
        """
        self.left: tuple[PlannedConversion, ...] = tuple(plan)
        self._clock = clock
        self._estimate_s = dict(estimate_s or {})
        self._rounds_s, self._processes = (_expected_s(measure), measure.replicates) if measure else (0.0, 1)
        self._took_s: Mapping[str, float] = {}
        self._starting: tuple[str, float] | None = None  # who, since when
        # How many processes of a conversion got ready, and of how many the rounds are over, by name.
        self._ready: Mapping[str, int] = {}
        self._timed: Mapping[str, int] = {}
        self._turns: tuple[float, float] | None = None  # since when, and how long they are expected to take

    @property
    def in_turns(self) -> bool:
        """Whether rounds are being taken."""
        return self._turns is not None

    def starting(self, name: str) -> None:
        """A conversion's process starts, or goes on, to get ready."""
        if not self._starting or self._starting[0] != name:
            self._starting = (name, self._clock())

    def ready(self, name: str) -> None:
        """It is ready, and waits for its turns."""
        if self._starting and self._starting[0] == name:
            self._took_s = {**self._took_s, name: self._clock() - self._starting[1]}
        self._ready = {**self._ready, name: self._ready.get(name, 0) + 1}
        self._starting = None

    def turns(self, total: int) -> None:
        """So many take turns from now on."""
        self._turns = (self._clock(), total * self._rounds_s)

    def end_turns(self) -> None:
        """All rounds of those that were ready are over, if any were taken."""
        if self._turns is not None:
            self._timed, self._turns = self._ready, None

    def finish(self, planned: PlannedConversion) -> None:
        """A conversion has its outcome."""
        self.end_turns()
        self._starting = None
        index = next((i for i, left in enumerate(self.left) if left == planned), None)
        if index is not None:
            self.left = self.left[:index] + self.left[index + 1 :]

    def remaining_s(self) -> float | None:
        """Seconds that are probably left; None before there is anything to estimate from.

        Each process of a conversion takes as long until it is ready as its last one, else what was estimated for it,
        else the mean of those that got ready or of the estimates, and then its share of the rounds; nothing if it
        cannot run.
        """
        moment, starting, turns = self._clock(), self._starting, self._turns
        known = self._took_s or self._estimate_s
        mean = sum(known.values()) / len(known) if known else None
        total = max(turns[1] - (moment - turns[0]), 0.0) if turns else 0.0
        for planned in self.left:
            if planned.unavailable:
                continue
            name = planned.name
            ready = self._ready.get(name, 0)
            total += self._rounds_s * max(self._processes - (ready if turns else self._timed.get(name, 0)), 0)
            starts = self._processes - ready
            if starts <= 0:
                continue
            expected = self._took_s.get(name, self._estimate_s.get(name, mean))
            if expected is None:
                return None
            spent = moment - starting[1] if starting and starting[0] == name else 0.0
            total += starts * expected - min(spent, expected)
        return total


def _expected_s(measure: MeasureSpec) -> float:
    """Of the rounds of one process, with what lies between them: how soon it settles depends on the machine."""
    least, most = measure.min_time_s, measure.max_time_s
    return least if measure.rel_precision is None else (least + most) / 2
