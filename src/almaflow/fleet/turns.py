"""Orders that wait, by kind and user, and whose turn it is."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

from almaflow.fleet.matching import suits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from almaflow.records.order import FleetMachine, Order

Kind = str | None
"""A hardware config by its name; None: any machine."""


class Turns:
    """Keeps waiting orders: first come, first served within a user, and users in turn within a kind.

    The user whose last grant of a kind is longest ago comes first; one that never had any came when its oldest order
    did. So between two grants of a user who waits, any other user has at most one of that kind.
    """

    def __init__(self) -> None:
        """Begin with no order."""
        self._orders: dict[Kind, dict[str, dict[str, Order]]] = {}  # by kind, user and ID; the oldest first
        self._arrived: dict[str, int] = {}
        self._granted: dict[tuple[Kind, str], int] = {}
        self._numbers = count()

    def __contains__(self, order_id: str) -> bool:
        return order_id in self._arrived

    def __len__(self) -> int:
        return len(self._arrived)

    def kinds_of(self, user: str) -> list[Kind]:
        """Return the kinds of machine that a user waits for."""
        return [kind for kind, users in self._orders.items() if user in users]

    def add(self, order: Order, *, first: bool = False) -> None:
        """Let an order wait; ``first``: before all others of its user and kind, since it has waited already."""
        users = self._orders.setdefault(order.kind, {})
        mine = users.get(order.user, {})
        if first:
            users[order.user] = {order.order_id: order, **mine}
        else:
            users.setdefault(order.user, mine)[order.order_id] = order
        self._arrived[order.order_id] = next(self._numbers)

    def remove(self, order: Order) -> None:
        """Let an order wait no more, if it did."""
        if self._arrived.pop(order.order_id, None) is None:
            return
        users = self._orders[order.kind]
        del users[order.user][order.order_id]
        if not users[order.user]:
            del users[order.user]
            if not users:
                del self._orders[order.kind]

    def grant(self, order: Order) -> None:
        """Take an order out, and put its user behind all others."""
        self.remove(order)
        self._granted[order.kind, order.user] = next(self._numbers)

    def next_for(self, machine: FleetMachine, may_hold: Callable[[str], bool]) -> Order | None:
        """Return the order whose turn it is on a machine; None where none may run there.

        Args:
            machine: The machine.
            may_hold: Whether a user may hold another machine.
        """
        best: tuple[int, Order] | None = None
        for kind in (*machine.kinds, None):
            for user, mine in self._orders.get(kind, {}).items():
                if not may_hold(user):
                    continue
                order = next((each for each in mine.values() if suits(each, machine)), None)
                if order and (best is None or self._turn(order) < best[0]):
                    best = self._turn(order), order
        return best[1] if best else None

    def _turn(self, order: Order) -> int:
        granted = self._granted.get((order.kind, order.user))
        return self._arrived[order.order_id] if granted is None else granted

    def in_turn(self, kind: Kind) -> Iterator[Order]:
        """Yield the orders of a kind in the order in which equal machines would get them."""
        rest: Mapping[str, Iterator[Order]] = {
            user: iter(mine.values()) for user, mine in self._orders.get(kind, {}).items()
        }
        turns = [(self._turn(first), user, first) for user, mine in rest.items() for first in [next(mine)]]
        heapq.heapify(turns)
        behind = count(next(self._numbers))
        while turns:
            _, user, order = heapq.heappop(turns)
            yield order
            if following := next(rest[user], None):
                heapq.heappush(turns, (next(behind), user, following))
