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

    from almaflow.records import Outcome, PlannedConversion

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
        self._took_s: tuple[float, ...] = ()
        self._estimate_s: Mapping[str, float] = {}
        self._now: tuple[str, str, float] | None = None
        self._total = 0
        self._started = 0.0

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def start(self, plan: Sequence[PlannedConversion], estimate_s: Mapping[str, float] | None = None) -> None:
        """Begin with what is planned, and how many seconds each conversion is expected to take, by name."""
        self._left, self._total, self._estimate_s = tuple(plan), len(plan), dict(estimate_s or {})
        self._started = self._clock()
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
        """Tell that a conversion is now in this phase: start, load, convert, first call, warm-up, measure or check."""
        began = self._now[2] if self._now and self._now[0] == name else self._clock()
        self._now = (name, phase, began)
        if self._live:
            self._live.refresh()
        else:
            self._line(f"{name}: {phase}")

    def finish(self, outcome: Outcome) -> None:
        """Tell how a conversion ended."""
        planned = outcome.planned
        index = next((i for i, left in enumerate(self._left) if left == planned), None)
        if index is not None:
            self._left = self._left[:index] + self._left[index + 1 :]
        took_s = max(outcome.ended_at - outcome.started_at, 0.0)
        if outcome.status is not Status.UNAVAILABLE:
            self._took_s = (*self._took_s, took_s)
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

        A conversion takes what was estimated for it, else the mean of those that ran, and nothing if it cannot run.
        """
        mean = sum(self._took_s) / len(self._took_s) if self._took_s else None
        total = 0.0
        for planned in self._left:
            if planned.unavailable:
                continue
            expected = self._estimate_s.get(planned.name, mean)
            if expected is None:
                return None
            now = self._now
            spent = self._clock() - now[2] if now and now[0] == planned.name else 0.0
            total += max(expected - spent, 0.0)
        return total

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
