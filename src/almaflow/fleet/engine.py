"""The interface of whatever carries orders to machines and results back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from almaflow.records.order import FleetMachine, Order, OrderEvent


class Engine(Protocol):
    """Carries orders. Every call may be repeated: an order that is known is neither queued nor started again."""

    def machines(self) -> Sequence[FleetMachine]:
        """Return the machines that can be reached."""

    def submit(self, order: Order, files: Mapping[str, Path]) -> None:
        """Send an order.

        Where the order is known already, as after the coordinator was killed, what is known of it comes as events.

        Args:
            order: The order; an ``epoch`` above 1 is that of its last grant that the coordinator knows of.
            files: The files of its blobs, by their sha256. One that a machine has already is not sent again.

        Raises:
            UsageError: no machine of the fleet may run it; the line says who offers what.
            AlmaflowError: the fleet cannot be reached.
        """

    def events(self, timeout_s: float) -> Iterable[OrderEvent]:
        """Return what became known of orders that were submitted here, in order.

        Nothing where nothing happened for ``timeout_s`` seconds.
        """

    def states(self, order_ids: Sequence[str]) -> Mapping[str, OrderEvent]:
        """Return the last event of each order that the fleet knows, without submitting any."""

    def fetch(self, order_id: str, into: Path) -> None:
        """Copy the job directory of an order that is done into a directory, which is made.

        Raises:
            AlmaflowError: its machine cannot be reached, or has no result of it; it may be tried again.
        """

    def recorded(self, order_id: str) -> None:
        """Tell that the result of an order is recorded: its machine removes it."""

    def cancel(self, order_id: str) -> None:
        """End an order, or take it from the queue. What it has measured can be fetched once it is ``cancelled``."""

    def close(self) -> None:
        """Let go of the fleet; orders go on."""
