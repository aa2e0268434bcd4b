"""Shows orders on stderr: all that are under way on a terminal, and a line for whatever stays."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.text import Text

from almaflow.records.order import FINAL, OrderEvent, OrderState
from almaflow.report.console import JobConsole
from almaflow.report.progress import REFRESH_PER_S, duration
from almaflow.secrets import mask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.console import Console


class FleetDisplay:
    """Shows each order under its label, such as ``job 3``; one order alone needs none.

    Args:
        labels: Labels by the IDs of orders.
        console: Where to write; stderr when not given, so that stdout has the tables alone.
        clock: Seconds from any origin; replaced in tests.
    """

    def __init__(
        self, labels: Mapping[str, str], console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Write nothing yet."""
        self._labels = labels
        self._console = console or JobConsole(stderr=True)
        self._clock = clock
        # The display's thread reads it while another one replaces it: it is replaced whole, never changed.
        self._under_way: Mapping[str, tuple[str, float]] = {}
        self._last: dict[str, str] = {}
        self._live: Live | None = None
        if self._console.is_interactive and self._console.file.isatty():
            self._live = Live(
                console=self._console,
                get_renderable=self._shown,
                refresh_per_second=REFRESH_PER_S,
                transient=True,
                redirect_stdout=False,
            )
            self._live.start()

    def event(self, event: OrderEvent) -> None:
        """Show an event: what passes on a terminal only, what stays as a line."""
        line = line_of(event)
        if event.state in FINAL:
            self._under_way = {each: now for each, now in self._under_way.items() if each != event.order_id}
        elif line:
            self._under_way = {**self._under_way, event.order_id: (line, self._clock())}
        if line and stays(event) and self._last.get(event.order_id) != line:
            self._last[event.order_id] = line
            self.note(event.order_id, line)

    def note(self, order_id: str, line: str) -> None:
        """Show a line about an order that stays."""
        label = self._labels.get(order_id, "")
        style = "yellow" if line.startswith("warning: ") else ""
        self._console.print(Text(mask(f"{label}: {line}" if label else line), style=style), soft_wrap=True)

    def close(self) -> None:
        """End the display; the lines that stay do so."""
        live, self._live = self._live, None
        if live:
            live.stop()

    def _shown(self) -> Group:
        under_way, moment = self._under_way, self._clock()
        lines = [
            f"{self._labels.get(order_id) or 'job'}: {line}, {duration(moment - since)}"
            for order_id, (line, since) in under_way.items()
        ]
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))


def stays(event: OrderEvent) -> bool:
    """Whether the line of an event stays: not that of a phase."""
    return event.state is not OrderState.running or event.conversion is None or event.finished is not None


def line_of(event: OrderEvent) -> str:
    """Return the line that an event is shown as; empty where there is nothing to show."""
    match event.state:
        case OrderState.queued:
            return queued_line(event)
        case OrderState.started:
            return f"begins on machine {event.machine_id}" if event.machine_id else "begins"
        case OrderState.running:
            return f"{event.conversion}: {event.line}" if event.conversion else event.line
        case OrderState.lost:
            return f"warning: machine {event.machine_id or 'unknown'} is lost; the job is queued again"
        case OrderState.superseded:
            return f"a second result, on machine {event.machine_id or 'unknown'}, is not recorded"
        case _:
            return ""  # whoever waits for it says more


def queued_line(event: OrderEvent) -> str:
    """Return how long an order waits, for whom, and at which place."""
    place = f"number {event.place} in line" if event.place else "waits for a machine"
    held = f"held by {event.held_by}" if event.held_by else ""
    about = f"about {duration(event.about_s)}" if event.about_s is not None else ""
    details = ", ".join(filter(None, (held, about)))
    return f"{place} ({details})" if details else place
