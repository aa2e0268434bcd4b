"""Progress on stderr: a live display on a terminal, one plain line for each conversion elsewhere.

With ``measure.log_level=INFO`` each phase of a conversion has a line there.
"""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.text import Text

from almaflow.analysis.rounds import is_stable
from almaflow.analysis.wording import figure
from almaflow.measure.progress import Progress
from almaflow.records import Status
from almaflow.records.protocol import EVALUATE, MINIMUM_ROUNDS
from almaflow.report.cells import first_line
from almaflow.report.console import JobConsole
from almaflow.report.estimate import Estimate
from almaflow.report.terminal import show_table
from almaflow.secrets import mask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console

    from almaflow.records import Job, MeasureSpec, Outcome, PlannedConversion

REFRESH_PER_S = 1
"""The display counts whole seconds; drawing it more often would only take time from the worker that is measured."""

MINUTE, HOUR = 60, 3600


class TerminalProgress(Progress):
    """Shows what runs now, in which phase, for how long, what is done and what remains.

    Args:
        console: where to write; stderr when not given, so that stdout has the table alone.
        clock: seconds from any origin; replaced in tests.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Write nothing yet."""
        self._console = console or JobConsole(stderr=True)
        self._clock = clock
        # Not is_terminal alone: FORCE_COLOR makes rich claim one, and a live display would fill the log of a CI job.
        self._live_wanted = self._console.is_interactive and self._console.file.isatty()
        self._live: Live | None = None
        # The display's thread reads these while the job's thread replaces them: each is replaced whole, never changed.
        self.estimate = Estimate(clock=clock)
        self._under_way: Mapping[str, tuple[str, float]] = {}  # by name: the phase, and since when
        self._converted: frozenset[str] = frozenset()
        self._failed = 0
        self._each_phase = False
        self._turns = ""
        self._total = 0
        self._runnable = 0
        self._started = self._clock()

    def start(
        self,
        plan: Sequence[PlannedConversion],
        measure: MeasureSpec | None = None,
        estimate_s: Mapping[str, float] | None = None,
    ) -> None:
        """Begin.

        Args:
            plan: The conversions to run.
            measure: How long the timed calls take.
            estimate_s: Seconds that a conversion is expected to take until it is ready, by name.
        """
        self.estimate, self._total = Estimate(plan, measure, estimate_s, self._clock), len(plan)
        self._started, self._under_way = self._clock(), {}
        self._each_phase = not self._live_wanted and measure is not None and measure.log_level in {"DEBUG", "INFO"}
        self._runnable = sum(not planned.unavailable for planned in plan)
        self._line(f"{self._total} conversion{'' if self._total == 1 else 's'} planned{self._about()}")
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
        """Tell that a conversion is now in this phase: start, load, convert, first call, check, warm-up, measure ...

        Before the plan is known, it is the model's, which has a line of its own.
        """
        if phase == "start" and self.estimate.in_turns:  # of a further process: the turns are over
            self.estimate.end_turns()
            self._under_way, self._converted = {}, frozenset()
        if phase == "ready":  # warm as well, some time after `ready`
            self._no_more(name)
        if phase == EVALUATE and self._total:
            self._turns, self._under_way = "timed", {name: (phase, self._clock())}
            self._refresh()
            return
        if self.estimate.in_turns or phase in {"prepared", "ready"}:  # `ready` and `turns` tell that
            return
        if not self._total:
            if name not in self._under_way:
                self._line(f"preparing {name}")
            self._under_way = {name: (phase, self._clock())}
            return
        if name not in self._converted:
            self.estimate.starting(name)
        _, since = self._under_way.get(name, ("", self._clock()))
        self._under_way = {**self._under_way, name: (phase, since)}
        if self._each_phase:
            self._line(f"{name}: {phase}")
        self._refresh()

    def ready(self, planned: PlannedConversion) -> None:
        """Tell that a conversion is converted and checked, and waits until nobody is prepared any more."""
        self.estimate.ready(planned.name)
        self._converted |= {planned.name}
        self._no_more(planned.name)

    def put_back(self, planned: PlannedConversion) -> None:
        """Tell that the process of a conversion was ended, and that it will get another one."""
        self.estimate.put_back(planned.name)
        self._converted -= {planned.name}
        self._no_more(planned.name)

    def turns(self, name: str, number: int, settled: int, total: int) -> None:
        """Tell that all that are ready take their rounds in turns.

        Args:
            name: The conversion whose turn it is.
            number: The number of the round, from 1 on.
            settled: How many need no more rounds.
            total: How many take turns.
        """
        if not self.estimate.in_turns:
            self.estimate.turns(total)
            self._line(f"timing {total} in turns")
        least = f" of {MINIMUM_ROUNDS}" if number <= MINIMUM_ROUNDS else f", {settled} of {total} precise enough"
        self._turns = f"timing round {number}{least} ({name})"
        self._under_way = {}
        self._refresh()

    def finish(self, outcome: Outcome) -> None:
        """Tell how a conversion ended."""
        planned = outcome.planned
        self.estimate.finish(planned)
        took_s = outcome.measurement.total_s if outcome.measurement else outcome.ended_at - outcome.started_at
        if not planned.unavailable and planned.name not in self._converted:
            self._failed += 1
        self._no_more(planned.name)
        remaining = self.estimate.remaining
        done = self._total - len(remaining)
        about = self._about() if remaining and not self._live else ""
        self._line(f"[{done}/{self._total}{about}] {planned.name}: {result_text(outcome, took_s)}")

    def measured(self, job: Job) -> None:
        """Print the table on stdout: nobody should wait for the report and the store to see it."""
        show_table(job)

    def note(self, text: str) -> None:
        """Show a line that stays."""
        self._line(text)

    def warn(self, text: str) -> None:
        """Show a warning among the lines that stay."""
        self._line(f"warning: {text}", style="yellow")

    def close(self) -> None:
        """End the display; the lines about what is done stay. May be called again."""
        live, self._live = self._live, None
        if live:
            live.stop()

    def _line(self, text: str, style: str = "") -> None:
        self._console.print(Text(mask(text), style=style), soft_wrap=True)

    def _no_more(self, name: str) -> None:
        """Show a conversion no more as one that is at work."""
        self._under_way = {each: now for each, now in self._under_way.items() if each != name}

    def _refresh(self) -> None:
        if self._live:
            self._live.refresh()

    def _about(self) -> str:
        """Estimate what is left; nothing while rounds are taken, of which nobody knows how many it will be."""
        seconds = None if self.estimate.in_turns else self.estimate.remaining_s()
        return f", about {duration(seconds)} to go" if seconds else ""

    def _display(self) -> Group:
        under_way, moment = self._under_way, self._clock()
        lines = [f"{name}: {phase}, {duration(moment - since)}" for name, (phase, since) in under_way.items()]
        counts = [f"converted {len(self._converted)} of {self._runnable}"]
        counts += [f"{self._failed} failed"] if self._failed else []
        counts += [self._turns] if self.estimate.in_turns else []
        last = f"{', '.join([*counts, f'{duration(moment - self._started)} so far'])}{self._about()}"
        known = self._converted | under_way.keys()
        waits = [each.name for each in self.estimate.remaining if not each.unavailable and each.name not in known]
        following = f"; next: {', '.join(waits)}" if waits else ""
        shown = [*lines, last + following]
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in shown))


def duration(seconds: float) -> str:
    """Return whole seconds, minutes or hours: ``4 s``, ``2 min 05 s``, ``1 h 02 min``."""
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02d} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE:02d} min"


def result_text(outcome: Outcome, took_s: float) -> str:
    """Return how a conversion ended: ``ok in 4 s: 1.2 ms``."""
    measured, failure = outcome.measurement, outcome.failure
    if outcome.status is Status.UNAVAILABLE:
        reason = failure.message if failure else outcome.planned.unavailable
        return f"{outcome.status}: {first_line(reason)}"
    took = f" in {duration(took_s)}"
    if outcome.interrupted:
        so_far = f": {figure(median(measured.samples_ms))} ms so far" if measured and measured.samples_ms else ""
        return f"interrupted{took}{so_far}"
    if failure:
        phase = f" in {failure.phase}" if failure.phase else ""
        return f"{outcome.status}{took}: {failure.kind}{phase}: {first_line(failure.message)}"
    if measured and measured.samples_ms:
        settled = "" if is_stable(outcome) else ", unstable"
        return f"{outcome.status}{took}: {figure(median(measured.samples_ms))} ms{settled}"
    return f"{outcome.status}{took}"
