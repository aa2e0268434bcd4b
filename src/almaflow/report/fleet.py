"""What to say of an order that waits for a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.report.progress import duration

if TYPE_CHECKING:
    from almaflow.records.order import OrderEvent


def waiting(event: OrderEvent, kind: str | None) -> str:
    """Say where an order stands in the queue: ``2nd in line for g4dn_xlarge (held by ann, about 4 min 00 s left)``."""
    held = [f"held by {event.held_by}"] if event.held_by else []
    if event.about_s is not None:
        held.append(f"about {duration(event.about_s)} left")
    text = f"{ordinal(event.place or 1)} in line for {kind or 'any machine'}"
    return text + (f" ({', '.join(held)})" if held else "") + (f"; again, since {event.line}" if event.line else "")


def ordinal(number: int) -> str:
    """Write a number as a place: ``1st``, ``12th``, ``23rd``."""
    ending = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
