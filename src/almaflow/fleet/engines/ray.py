"""The engine over Ray: the coordinator talks to the broker, and fetches results from the agents of machines.

It is a client of the head and no node of Ray's: a node's process is ended by Ray where the head is gone, and this one
has orders to look after.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from almaflow import machine
from almaflow.errors import AlmaflowError, UsageError
from almaflow.fleet.broker_service import event_of
from almaflow.fleet.durable import unpack
from almaflow.fleet.engines.ray_calls import BROKER, NAMESPACE, agent_name, ask, load_client, use_token, why
from almaflow.fleet.engines.ray_node import check_answers, split_address
from almaflow.fleet.head_blobs import CHUNK
from almaflow.records.clock import now
from almaflow.records.json_files import from_line, to_line
from almaflow.records.order import FINAL, FleetMachine, OrderEvent, OrderState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from almaflow.records.order import Order

POLL_S = 0.5
PATIENCE_S = 300.0
"""Seconds in which a head that is gone may come back, before its coordinator gives up; its orders go on."""
UNDER_WAY = frozenset({OrderState.started, OrderState.running})


def token_path() -> Path:
    """Return where this home keeps the fleet's token."""
    return machine.home() / "fleet" / "token"


class RayEngine:
    """Sends orders to a fleet and fetches their results.

    Args:
        address: HOST:PORT of the head.
        quota: Machines that the user's orders hold at once; None: as many as the fleet lets.
        user: The user's name in the queue; every order has it.
    """

    def __init__(self, address: str | None, quota: int | None, user: str) -> None:
        """Connect to the head.

        Raises:
            UsageError: the address is none, or Ray is not installed.
            AlmaflowError: no head answers, or it refuses the token or the versions.
        """
        del user
        self._host, self._port = split_address(address)
        self._quota = quota
        self._orders: dict[str, tuple[Order, Mapping[str, Path]]] = {}
        self._stood: dict[str, OrderEvent] = {}
        self._cursors: dict[str, tuple[int, int]] = {}
        self._seconds: set[tuple[str, str]] = set()
        self._broker: Any = None
        self._connect()

    def _connect(self) -> None:
        check_answers(f"{self._host}:{self._port}")
        use_token(token_path())
        ray = load_client()
        if ray.is_initialized():
            ray.shutdown()
        try:
            with warnings.catch_warnings(action="ignore"):  # the error says it too
                ray.init(f"ray://{self._host}:{self._port + 1}", namespace=NAMESPACE)
            self._broker = ray.get_actor(BROKER, namespace=NAMESPACE)
        except Exception as error:
            message = f"{self._host}:{self._port}: {why(error)}"
            raise AlmaflowError(message) from error

    def _ask(self, name: str, *arguments: Any) -> Any:
        """Call the broker; where the connection is gone, once more over a new one."""
        try:
            return ask(self._broker, name, *arguments)
        except UsageError:
            raise
        except AlmaflowError:
            self._connect()
            return ask(self._broker, name, *arguments)

    def machines(self) -> Sequence[FleetMachine]:
        """Return the machines that the broker has heard of lately."""
        found = self._ask("machines")
        return [from_line(each["machine"], FleetMachine) for each in found if each["state"] != "lost"]

    def states_of_machines(self) -> list[dict[str, Any]]:
        """Return each machine with its state, as ``BrokerService.machines`` does."""
        found: list[dict[str, Any]] = self._ask("machines")
        return found

    def queue(self) -> list[dict[str, Any]]:
        """Return the orders of all users, as ``BrokerService.queue`` does."""
        found: list[dict[str, Any]] = self._ask("queue")
        return found

    def drain(self, machine_id: str, *, is_drained: bool) -> None:
        """Grant a machine to nobody from now on, or again."""
        self._ask("drain", machine_id, is_drained)

    def submit(self, order: Order, files: Mapping[str, Path]) -> None:
        """Send an order to the broker, after the files that the head has not yet.

        Raises:
            UsageError: no machine of the fleet may run it.
            AlmaflowError: the fleet cannot be reached.
        """
        self._send_files(order, files)
        self._ask("submit", to_line(order), self._quota)
        self._orders[order.order_id] = (order, files)
        self._cursors.setdefault(order.order_id, (0, 0))

    def _send_files(self, order: Order, files: Mapping[str, Path]) -> None:
        sizes = {blob.sha256: blob.size for blob in order.blobs.values() if blob.sha256 in files}
        # Asked again before each piece: another user may send the same file, and may leave it half sent.
        while lacked := self._ask("lacks", sizes) if sizes else {}:
            sha256, had = next(iter(lacked.items()))
            with files[sha256].open("rb") as stream:
                stream.seek(had)
                data = stream.read(CHUNK)
            if not data and had < sizes[sha256]:
                message = f"{files[sha256]} changed while it was sent: start again"
                raise AlmaflowError(message)
            self._ask("put_blob", sha256, had, data, sizes[sha256])

    def events(self, timeout_s: float) -> Sequence[OrderEvent]:
        """Return what became known of the orders that were submitted here.

        Raises:
            AlmaflowError: the head is gone for minutes.
        """
        deadline = time.monotonic() + timeout_s
        while not (news := self._patiently(self._look)) and (left_s := deadline - time.monotonic()) > 0:
            time.sleep(min(POLL_S, left_s))
        return news

    def _patiently(self, look: Callable[[], list[OrderEvent]]) -> list[OrderEvent]:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return look()
            except AlmaflowError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)

    def _look(self) -> list[OrderEvent]:
        news = self._ask("news", self._cursors)
        events: list[OrderEvent] = []
        for order_id, (order, files) in self._orders.items():
            if order_id in news:
                events += self._changes(order_id, news[order_id])
            elif self._cursors.get(order_id) is not None:  # another broker, which knows nothing of it
                stood = self._stood.get(order_id)
                self.submit(replace(order, epoch=max(order.epoch, stood.epoch if stood else 0)), files)
        return events

    def _changes(self, order_id: str, news: Mapping[str, Any]) -> list[OrderEvent]:
        """Return what is new of one order."""
        stands, stood = event_of(news["stands"]), self._stood.get(order_id)
        events = []
        if lines := news["lines"]:
            epoch, count = self._cursors[order_id]
            self._cursors[order_id] = (news["epoch"], len(lines) + (count if epoch == news["epoch"] else 0))
            events = [replace(event_of(line), epoch=news["epoch"], machine_id=stands.machine_id) for line in lines]
        for machine_id in news["second"]:
            if (order_id, machine_id) not in self._seconds:
                self._seconds.add((order_id, machine_id))
                events.append(OrderEvent(order_id, OrderState.superseded, now(), machine_id=machine_id))
        if stood and _key(stood) == _key(stands):
            return events
        self._stood[order_id] = stands
        if stood and stood.state in UNDER_WAY and (stands.state is OrderState.queued or stands.epoch > stood.epoch):
            events.insert(0, replace(stood, state=OrderState.lost, at=now(), line=stands.line))
        if stands.state is not OrderState.running or events == []:
            events.append(stands)
        if stands.state in FINAL:
            self._cursors.pop(order_id)  # it is not looked at again
            self._orders[order_id] = (replace(self._orders[order_id][0], configuration={}), {})
        return events

    def states(self, order_ids: Sequence[str]) -> Mapping[str, OrderEvent]:
        """Return where the orders stand that the fleet knows."""
        news = self._ask("news", dict.fromkeys(order_ids, (0, 0)))
        stands = {order_id: event_of(each["stands"]) for order_id, each in news.items()}
        self._stood |= stands
        return stands

    def fetch(self, order_id: str, into: Path) -> None:
        """Copy the result of an order from its machine.

        Raises:
            AlmaflowError: the machine cannot be reached, or has none.
        """
        stood = self._stood.get(order_id) or self.states([order_id]).get(order_id)
        if stood is None or stood.machine_id is None:
            message = f"order {order_id}: no machine of the fleet has a result"
            raise AlmaflowError(message)
        agent = self._agent(stood.machine_id)
        archive = into.with_name(f".{into.name}.zip")
        try:
            size = ask(agent, "pack", order_id)
            with archive.open("wb") as stream:
                while stream.tell() < size:
                    stream.write(ask(agent, "read", order_id, stream.tell(), CHUNK))
            unpack(archive, into)
        except AlmaflowError as error:
            message = f"machine {stood.machine_id}: {error}"
            raise AlmaflowError(message) from error
        finally:
            archive.unlink(missing_ok=True)

    def _agent(self, machine_id: str) -> Any:
        try:
            return load_client().get_actor(agent_name(machine_id), namespace=NAMESPACE)
        except ValueError as error:
            message = f"machine {machine_id} is not in the fleet now"
            raise AlmaflowError(message) from error

    def recorded(self, order_id: str) -> None:
        """Tell the broker that a result is recorded; the machine learns it at its next beat."""
        stood = self._stood.get(order_id)
        self._ask("recorded", order_id, stood.machine_id if stood else None)

    def cancel(self, order_id: str) -> None:
        """End an order, or take it from the queue."""
        self._ask("cancel", order_id)

    def close(self) -> None:
        """Leave the head."""
        load_client().shutdown()


def _key(event: OrderEvent) -> tuple[object, ...]:
    """Return what makes an event of where an order stands another one: not how long it may still take."""
    return event.state, event.epoch, event.machine_id, event.place, event.held_by, event.line
