"""The broker as machines and coordinators call it: with a clock and a lock, over lines of JSON.

Whatever carries the calls is left out here. A machine gives at its join what its orders are sent to.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from almaflow.fleet.broker import GRACE_S, LOST_S, Broker
from almaflow.fleet.entries import Held
from almaflow.fleet.head_blobs import BlobStore
from almaflow.fleet.places import standings
from almaflow.records import to_dict
from almaflow.records.clock import now
from almaflow.records.json_files import from_line, to_line
from almaflow.records.order import FleetMachine, Order, OrderEvent, OrderState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

SETTLE_S = 2.0
"""Seconds between looks at leases that may be void. What calls tell is settled at once."""


@dataclass
class _Progress:
    """What the machine of an order told under one grant."""

    epoch: int = 0
    lines: list[str] = field(default_factory=list)


class BrokerService:
    """Answers calls from several threads; each may be repeated.

    Args:
        root: Directory of the files that orders need.
        quota: The most machines that a user may hold at once; None: no limit.
        lost_s: Seconds of silence after which a machine's lease is void.
        grace_s: Seconds in which nothing is granted yet, since machines may have orders already.
        send: Sends an order, as a line of JSON, to what a machine gave at its join. It does not wait.
        clock: Seconds from any origin; replaced in tests.
    """

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        root: Path,
        *,
        quota: int | None,
        send: Callable[[Any, str], None],
        clock: Callable[[], float] = time.monotonic,
        lost_s: float = LOST_S,
        grace_s: float = GRACE_S,
    ) -> None:
        """Know nothing yet: machines and coordinators tell."""
        self.broker = Broker(clock(), quota=quota, lost_s=lost_s, grace_s=grace_s)
        self._blobs = BlobStore(root)
        self._quota = quota
        self._send = send
        self._clock = clock
        self._lock = threading.Lock()
        self._agents: dict[str, Any] = {}
        self._progress: dict[str, _Progress] = {}
        self._seconds: dict[str, set[str]] = {}
        """Machines with a second result, by order."""

    def settle_forever(self) -> None:
        """Settle again and again; runs in a thread of its own."""
        while True:
            time.sleep(SETTLE_S)
            with self._lock:
                self._settle()

    # What machines call.

    def join(self, machine: str, instance: str, held: Sequence[str], agent: Any) -> dict[str, Any]:
        """Take a machine into the fleet; ``Broker.join`` says what is refused."""
        record = from_line(machine, FleetMachine)
        with self._lock:
            reply = self.broker.join(record, instance, _held(held), self._clock())
            self._agents[record.machine_id] = agent
            return self._replied(record.machine_id, reply)

    def beat(self, machine_id: str, instance: str, held: Sequence[str]) -> dict[str, Any]:
        """Take note of a machine and of its spool; ``Broker.beat`` says what is refused."""
        with self._lock:
            return self._replied(machine_id, self.broker.beat(machine_id, instance, _held(held), self._clock()))

    def progress(self, order_id: str, epoch: int, first: int, lines: Sequence[str]) -> None:
        """Keep what an order told, from its event number ``first`` on, for its coordinator."""
        with self._lock:
            known = self._progress.setdefault(order_id, _Progress())
            if epoch > known.epoch:
                known.epoch, known.lines = epoch, []
            if epoch == known.epoch and first <= len(known.lines):
                known.lines[first:] = lines

    def read_blob(self, sha256: str, offset: int) -> bytes:
        """Return the next bytes of a file; none at its end."""
        return self._blobs.read(sha256, offset)

    # What coordinators call.

    def lacks(self, blobs: Mapping[str, int]) -> dict[str, int]:
        """Return the files, of these with their sizes, that are not here whole: and how much of each is."""
        return {sha256: self._blobs.size(sha256) for sha256 in blobs if not self._blobs.is_whole(sha256)}

    def put_blob(self, sha256: str, offset: int, data: bytes, size: int) -> None:
        """Keep the next bytes of a file of this size."""
        self._blobs.append(sha256, offset, data, size)

    def submit(self, order: str, quota: int | None = None) -> None:
        """Let an order wait; ``Broker.submit`` says what is refused.

        Args:
            order: The order.
            quota: Machines that its user wants to hold at most; the fleet's own quota stands where it is lower.
        """
        record = from_line(order, Order)
        with self._lock:
            if quota is not None:
                self.broker.quotas[record.user] = quota if self._quota is None else min(quota, self._quota)
            self.broker.submit(record, self._clock())
            self._settle()

    def news(self, cursors: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
        """Return what is known of orders.

        Args:
            cursors: By order, the grant and the number of events that the coordinator has of it.

        Returns:
            By order: where it ``stands``, as an event; its ``epoch``, and the ``lines`` of the events after those; and
            ``second``, the machines with a second result. Without orders that are unknown here.
        """
        with self._lock:
            stands = standings(self.broker, cursors, self._clock())
            return {
                order_id: {
                    "stands": to_line(replace(event, at=now())),
                    "second": sorted(self._seconds.get(order_id, ())),
                    **self._after(order_id, *cursors[order_id]),
                }
                for order_id, event in stands.items()
            }

    def _after(self, order_id: str, epoch: int, count: int) -> dict[str, Any]:
        known = self._progress.get(order_id, _Progress())
        return {"epoch": known.epoch, "lines": known.lines[count if epoch == known.epoch else 0 :]}

    def cancel(self, order_id: str) -> None:
        """End an order, wherever it is."""
        with self._lock:
            self.broker.cancel(order_id)
            self._settle()

    def recorded(self, order_id: str, machine_id: str | None = None) -> None:
        """Note that the result of an order is recorded."""
        with self._lock:
            self.broker.recorded(order_id, machine_id)
            self._progress.pop(order_id, None)
            self._settle()

    def drain(self, machine_id: str, is_drained: bool) -> None:  # noqa: FBT001 - calls carry values by position
        """Grant a machine to nobody from now on, or again."""
        with self._lock:
            self.broker.drain(machine_id, is_drained=is_drained)
            self._settle()

    def machines(self) -> list[dict[str, Any]]:
        """Return each machine with its state: ``idle``, ``busy``, ``drained`` or ``lost``, its order and its user."""
        with self._lock:
            found = []
            for each in self.broker.machines.values():
                order_id = each.order_id or next(iter(each.running), None)
                entry = self.broker.orders.get(order_id) if order_id else None
                words = {"lost": each.is_lost, "busy": order_id is not None, "drained": each.is_drained, "idle": True}
                found.append(
                    {
                        "machine": to_line(each.machine),
                        "state": next(word for word, holds in words.items() if holds),
                        "is_drained": each.is_drained,
                        "order_id": order_id,
                        "user": entry.order.user if entry else None,
                    }
                )
            return found

    def queue(self) -> list[dict[str, Any]]:
        """Return the orders that wait or are under way: user, kind and where each stands."""
        with self._lock:
            entries = {key: entry for key, entry in self.broker.orders.items() if entry.end is None}
            stands = standings(self.broker, entries, self._clock())
            return [
                {
                    "user": entries[key].order.user,
                    "kind": entries[key].order.kind,
                    "stands": to_line(replace(event, at=now())),
                }
                for key, event in stands.items()
                if event.state is not OrderState.done
            ]

    def _replied(self, machine_id: str, reply: Any) -> dict[str, Any]:
        for order_id in reply.superseded:
            self._seconds.setdefault(order_id, set()).add(machine_id)
        granted = self._settle()
        leased = self.broker.machines[machine_id].order_id
        if leased and leased not in granted and not self.broker.orders[leased].is_accepted:
            self._deliver(leased, machine_id, self.broker.orders[leased].leased_epoch)  # it may not have come
        answer: dict[str, Any] = to_dict(reply)
        return answer

    def _settle(self) -> set[str]:
        grants = self.broker.settle(self._clock())
        for grant in grants:
            self._deliver(grant.order_id, grant.machine_id, grant.epoch)
        return {grant.order_id for grant in grants}

    def _deliver(self, order_id: str, machine_id: str, epoch: int) -> None:
        if agent := self._agents.get(machine_id):
            self._send(agent, to_line(replace(self.broker.orders[order_id].order, epoch=epoch)))


def _held(lines: Sequence[str]) -> list[Held]:
    return [from_line(line, Held) for line in lines]


def event_of(line: str) -> OrderEvent:
    """Read an event."""
    return from_line(line, OrderEvent)
