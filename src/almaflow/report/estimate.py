"""Estimate how long a job may still take, from what it has done so far."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from almaflow.records import MeasureSpec, PlannedConversion


class Estimate:
    """Keeps the books of a job. Each field is replaced, never changed in place, since a display's thread reads them."""

    def __init__(
        self,
        plan: Sequence[PlannedConversion] = (),
        measure: MeasureSpec | None = None,
        estimate_s: Mapping[str, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with the whole plan remaining.

        Args:
            plan: The conversions to run.
            measure: How long the timed calls take.
            estimate_s: Seconds that a conversion is expected to take until it is ready, by name.
            clock: Seconds from any origin.
        """
        self.remaining: tuple[PlannedConversion, ...] = tuple(plan)
        self._clock = clock
        self._estimate_s = dict(estimate_s or {})
        self._rounds_s, self._processes = (_expected_s(measure), measure.replicates) if measure else (0.0, 1)
        self._jobs = measure.prepare_jobs if measure else 1
        self._took_s: Mapping[str, float] = {}
        self._starting: Mapping[str, float] = {}  # by name, since when
        # By name: how many processes of a conversion got ready, and how many of them have taken all their rounds.
        self._ready: Mapping[str, int] = {}
        self._timed: Mapping[str, int] = {}
        self._turns: tuple[float, float] | None = None  # since when, and how long they are expected to take

    @property
    def in_turns(self) -> bool:
        """Whether conversions are taking rounds in turns now."""
        return self._turns is not None

    @property
    def converted(self) -> int:
        """How many processes are ready and have not begun to take turns."""
        return 0 if self.in_turns else sum(self._ready.values()) - sum(self._timed.values())

    def starting(self, name: str) -> None:
        """Note that a process of the conversion is getting ready; calls in a row count from the first one."""
        self._starting = {name: self._clock(), **self._starting}

    def ready(self, name: str) -> None:
        """Note that a process of the conversion is ready, and waits for its turns."""
        if name in self._starting:
            self._took_s = {**self._took_s, name: self._clock() - self._starting[name]}
        self._ready = {**self._ready, name: self._ready.get(name, 0) + 1}
        self.put_back(name)

    def put_back(self, name: str) -> None:
        """Note that no process of the conversion is getting ready any more."""
        self._starting = {each: since for each, since in self._starting.items() if each != name}

    def turns(self, total: int) -> None:
        """Note that ``total`` processes take turns from now on."""
        self._turns = (self._clock(), total * self._rounds_s)

    def end_turns(self) -> None:
        """Note that the processes that were ready have taken all their rounds, if they took turns at all."""
        if self._turns is not None:
            self._timed, self._turns = self._ready, None

    def finish(self, planned: PlannedConversion) -> None:
        """Remove a conversion that has its outcome."""
        self.end_turns()
        self.put_back(planned.name)
        index = next((i for i, each in enumerate(self.remaining) if each == planned), None)
        if index is not None:
            self.remaining = self.remaining[:index] + self.remaining[index + 1 :]

    def remaining_s(self) -> float | None:
        """Seconds that the job probably still takes; None before there is anything to estimate from.

        Until it is ready, each process of a conversion takes as long as its last one did, else what was estimated for
        it, else the mean of those that got ready or of the estimates; as many do so at once as are prepared at once.
        Then it takes its share of the rounds. A conversion that cannot run takes no time.
        """
        moment, starting, turns = self._clock(), self._starting, self._turns
        durations = self._took_s or self._estimate_s
        mean = sum(durations.values()) / len(durations) if durations else None
        total = max(turns[1] - (moment - turns[0]), 0.0) if turns else 0.0
        until_ready_s = [0.0]
        for planned in self.remaining:
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
            spent = moment - starting[name] if name in starting else 0.0
            until_ready_s.append(starts * expected - min(spent, expected))
        return total + max(sum(until_ready_s) / self._jobs, *until_ready_s)


def _expected_s(measure: MeasureSpec) -> float:
    """Seconds for the rounds of one process: how soon it reaches a wanted precision depends on the machine."""
    least, most = measure.min_time_s, measure.max_time_s
    return least if measure.rel_precision is None else (least + most) / 2
