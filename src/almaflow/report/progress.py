"""Progress on stderr: a live display on a terminal, one plain line per event elsewhere."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from almaflow.analysis.wording import figure
from almaflow.records import Status
from almaflow.report.cells import first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from almaflow.records import MeasureSpec, Outcome, PlannedConversion

REFRESH_PER_S = 1
"""The display counts whole seconds; drawing it more often would only take time from the worker that is measured."""

MINUTE, HOUR = 60, 3600


class Progress:
    """Tells what runs now, in which phase, for how long, what is done and what is left.

    Args:
        console: where to write; stderr when not given, so that stdout has the table alone.
        clock: seconds from any origin; replaced in tests.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Write nothing yet."""
        self._console = console or Console(stderr=True)
        self._clock = clock
        # Not is_terminal alone: FORCE_COLOR makes rich claim one, and a live display would fill the log of a CI job.
        self._live_wanted = self._console.is_interactive and self._console.file.isatty()
        self._live: Live | None = None
        # The display's thread reads these while the job's thread replaces them: each is replaced whole, never changed.
        self._left: tuple[PlannedConversion, ...] = ()
        self._took_s: Mapping[str, float] = {}
        self._estimate_s: Mapping[str, float] = {}
        self._now: tuple[str, str, float] | None = None
        # How many processes of a conversion got ready, and of how many the rounds are over, by name.
        self._ready: Mapping[str, int] = {}
        self._timed: Mapping[str, int] = {}
        self._processes = 1
        self._rounds_s = 0.0
        self._turns: tuple[float, float] | None = None  # since when, and how long they are expected to take
        self._total = 0
        self._started = 0.0

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def start(
        self,
        plan: Sequence[PlannedConversion],
        measure: MeasureSpec | None = None,
        estimate_s: Mapping[str, float] | None = None,
    ) -> None:
        """Begin.

        Args:
            plan: What is planned.
            measure: How long the timed calls take.
            estimate_s: Seconds that a conversion is expected to take until it is ready, by name.
        """
        self._left, self._total, self._estimate_s = tuple(plan), len(plan), dict(estimate_s or {})
        self._rounds_s, self._processes = (_expected_s(measure), measure.replicates) if measure else (0.0, 1)
        self._started, self._now = self._clock(), None
        self._line(f"{self._total} conversions planned{self._about()}")
        if self._live_wanted:
            self._live = Live(
                console=self._console,
                get_renderable=self._display,
                refresh_per_second=REFRESH_PER_S,
                transient=True,
                redirect_stdout=False,
            )
            self._live.start()

    def phase(self, name: str, phase: str) -> None:
        """Tell that a conversion is now in this phase: start, load, convert, first call, check, warm-up or measure."""
        if phase == "start":  # of another process: those that took turns are done with it
            self._end_turns()
        if self._turns is not None or phase == "ready":  # what `ready` and `turns` say instead
            return
        began = self._now[2] if self._now and self._now[0] == name else self._clock()
        self._now = (name, phase, began)
        if self._live:
            self._live.refresh()
        else:
            self._line(f"{name}: {phase}")

    def ready(self, planned: PlannedConversion) -> None:
        """Tell that a conversion is converted, checked and warm, and waits for its turns."""
        name = planned.name
        if self._now and self._now[0] == name:
            self._took_s = {**self._took_s, name: self._clock() - self._now[2]}
        self._ready = {**self._ready, name: self._ready.get(name, 0) + 1}
        self._now = None

    def turns(self, name: str, number: int, settled: int, total: int) -> None:
        """Tell that all that are ready take their rounds in turns.

        Args:
            name: Whose turn it is.
            number: Of the round, from 1 on.
            settled: How many need no more.
            total: How many take turns.
        """
        if self._turns is None:
            self._turns = (self._clock(), total * self._rounds_s)
            self._line(f"timing {total} in turns{self._about()}")
        since = self._now[2] if self._now else self._clock()
        self._now = (name, f"round {number}, {settled} of {total} settled", since)
        if self._live:
            self._live.refresh()

    def finish(self, outcome: Outcome) -> None:
        """Tell how a conversion ended."""
        planned = outcome.planned
        self._end_turns()
        index = next((i for i, left in enumerate(self._left) if left == planned), None)
        if index is not None:
            self._left = self._left[:index] + self._left[index + 1 :]
        took_s = outcome.measurement.total_s if outcome.measurement else outcome.ended_at - outcome.started_at
        self._now = None
        done = self._total - len(self._left)
        about = self._about() if self._left and not self._live else ""
        self._line(f"[{done}/{self._total}{about}] {planned.name}: {_result(outcome, took_s)}")

    def warn(self, text: str) -> None:
        """Show a warning among the lines that stay."""
        self._line(f"warning: {text}", style="yellow")

    def close(self) -> None:
        """End the display; the lines about what is done stay. May be called again."""
        live, self._live = self._live, None
        if live:
            live.stop()

    def remaining_s(self) -> float | None:
        """Seconds that are probably left; None before there is anything to estimate from.

        Each process of a conversion takes as long until it is ready as its last one, else what was estimated for it,
        else the mean of those that got ready, and then its share of the rounds; nothing if it cannot run.
        """
        moment, now, turns = self._clock(), self._now, self._turns
        mean = sum(self._took_s.values()) / len(self._took_s) if self._took_s else None
        total = max(turns[1] - (moment - turns[0]), 0.0) if turns else 0.0
        for planned in self._left:
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
            spent = moment - now[2] if now and now[0] == name and not turns else 0.0
            total += starts * expected - min(spent, expected)
        return total

    def _end_turns(self) -> None:
        if self._turns is not None:
            self._timed, self._turns, self._now = self._ready, None, None

    def _line(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style), soft_wrap=True)

    def _about(self) -> str:
        remaining = self.remaining_s()
        return "" if remaining is None else f", about {duration(remaining)} to go"

    def _display(self) -> Group:
        now, moment = self._now, self._clock()
        names = [planned.name for planned in self._left if now is None or planned.name != now[0]]
        done = self._total - len(self._left)
        first = f"{now[0]}: {now[1]}, {duration(moment - now[2])}" if now else "preparing"
        second = f"{done} of {self._total} done, {duration(moment - self._started)} so far{self._about()}"
        following = f"; next: {', '.join(names)}" if names else ""
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in (first, second + following)))


def _expected_s(measure: MeasureSpec) -> float:
    """Of the rounds of one process, with what lies between them: how soon it settles depends on the machine."""
    least, most = measure.min_time_s, measure.max_time_s
    return least if measure.rel_precision is None else (least + most) / 2


def duration(seconds: float) -> str:
    """Whole seconds, minutes or hours: ``4 s``, ``2 min 05 s``, ``1 h 02 min``."""
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02d} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE:02d} min"


def _result(outcome: Outcome, took_s: float) -> str:
    measured, failure = outcome.measurement, outcome.failure
    if outcome.status is Status.UNAVAILABLE:
        reason = failure.message if failure else outcome.planned.unavailable
        return f"{outcome.status}: {first_line(reason)}"
    took = f" in {duration(took_s)}"
    if outcome.interrupted:
        return f"interrupted{took}"
    if failure:
        phase = f" in {failure.phase}" if failure.phase else ""
        return f"{outcome.status}{took}: {failure.kind}{phase}: {first_line(failure.message)}"
    if measured and measured.samples_ms:
        settled = "" if measured.stable else ", unstable"
        return f"{outcome.status}{took}: {figure(median(measured.samples_ms))} ms{settled}"
    return f"{outcome.status}{took}"
