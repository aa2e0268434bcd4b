"""The agent of a machine: it takes orders, starts their program, and tells the broker what lies in the spool.

It may be killed at any moment. What runs goes on, and the next agent finds it in the spool.
"""

from __future__ import annotations

import io
import os
import signal
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from almaflow.errors import AlmaflowError, UsageError
from almaflow.fleet.entries import Held, Reply
from almaflow.fleet.head_blobs import ChunkReader
from almaflow.fleet.matching import environment_for
from almaflow.fleet.spool import ACCEPTED, CANCELLED, DONE, RUNNING, StaleOrderError
from almaflow.records import from_dict
from almaflow.records.json_files import from_line, to_line
from almaflow.records.order import Order, OrderState

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from almaflow.fleet.spool import Spool, SpoolState
    from almaflow.records.order import FleetMachine

BEAT_S = 10.0
POLL_S = 1.0
"""Seconds between looks at the spool: a few small files, which take nothing from what is measured."""
STOPS_WITHIN_S = 120.0
"""Seconds that an order has to end which is not this machine's to run any more; then it is killed."""

_STATES = {
    ACCEPTED: OrderState.started,
    RUNNING: OrderState.running,
    DONE: OrderState.done,
    CANCELLED: OrderState.cancelled,
}


class Agent:
    """Serves one machine.

    Args:
        spool: The machine's spool.
        machine: What the machine is.
        instance: A name that it keeps while it is on, and that a copy of it does not have.
        ask: Calls the broker: the name of the call, then its arguments.
        me: What the broker sends orders to.
        clock: Seconds from any origin; replaced in tests.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what it works with
        self,
        spool: Spool,
        machine: FleetMachine,
        instance: str,
        ask: Callable[..., Any],
        me: Any,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Tell nobody yet."""
        self.spool = spool
        self.trouble = "it has not reached the broker yet"
        """Why it is not in the fleet; empty where it is."""
        self._machine, self._instance, self._ask, self._me, self._clock = machine, instance, ask, me, clock
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._beat_at = -BEAT_S
        self._told: list[Held] = []
        self._is_known = False
        self._events: dict[tuple[str, int], tuple[int, int]] = {}
        """By order and grant: how far its events are read, and how many were told."""
        self._refused: dict[str, Held] = {}
        self._begun: dict[tuple[str, int], threading.Thread] = {}
        self._stopping: dict[str, float] = {}
        self._since: dict[tuple[str, int], float] = {}
        self._kept: dict[str, Order] = {}

    # What is called from elsewhere.

    def take(self, line: str) -> None:
        """Take an order that the broker granted; one that is known changes nothing."""
        order = from_line(line, Order)
        with self._lock:
            try:
                self.spool.accept(order)
            except StaleOrderError:
                return
            except AlmaflowError as error:
                stripped = replace(order, configuration={}, past=())
                self._refused[order.order_id] = Held(stripped, OrderState.failed, UsageError.exit_code, str(error))
        self._wake.set()

    def pack(self, order_id: str) -> int:
        """Pack the result of an order, and return its size in bytes.

        Raises:
            AlmaflowError: the order has none here.
        """
        return self.spool.pack(order_id).stat().st_size

    def read(self, order_id: str, offset: int, size: int) -> bytes:
        """Return bytes of a result that was packed."""
        with (self.spool.directory(order_id) / "job.zip").open("rb") as stream:
            stream.seek(offset)
            return stream.read(size)

    # What it does by itself.

    def run_forever(self) -> None:
        """Look after the spool and tell the broker; runs in a thread of its own."""
        while True:
            self._wake.wait(POLL_S)
            self._wake.clear()
            try:
                self.step()
            except AlmaflowError as error:
                self.trouble = str(error)
            except Exception as error:  # noqa: BLE001 - a full disk, say: the next look may find room
                self.trouble = f"{type(error).__name__}: {error}"
                traceback.print_exc()

    def step(self) -> None:
        """Look at the spool once; tell the broker what changed, or that the machine is there."""
        with self._lock:
            held = self._held()
            is_due = self._clock() - self._beat_at >= BEAT_S or held != self._told
            if self._is_known:
                self._tell_events(held)
            reply = self._beat(held) if is_due else None
        if reply is not None:
            self._follow(reply)
        self._end_overdue()

    def _beat(self, held: list[Held]) -> Reply:
        lines = [to_line(each) for each in held]
        answer = None
        if self._is_known:
            with suppress(UsageError):  # a new broker does not know the machine
                answer = self._ask("beat", self._machine.machine_id, self._instance, lines)
        if answer is None:
            self._is_known = False
            answer = self._ask("join", to_line(self._machine), self._instance, lines, self._me)
            self._is_known = True
            self._events.clear()  # it does not know what orders told either
            self._tell_events(held)
        self.trouble = ""
        self._beat_at, self._told = self._clock(), held
        self._refused.clear()
        return from_dict(Reply, answer)

    def _follow(self, reply: Reply) -> None:
        empty = [each for each in reply.superseded if not self.spool.measured(each)]
        for order_id in (*reply.remove, *empty):
            self.spool.remove(order_id)
            self._kept.pop(order_id, None)
        for order_id in reply.stop:
            self._stopping.setdefault(order_id, self._clock() + STOPS_WITHIN_S)
            self.spool.cancel(order_id)
        for order_id in self.spool.orders():
            if order_id not in reply.stop and self.spool.state(order_id).state == ACCEPTED:
                self._begin(self.spool.order(order_id))

    def _begin(self, order: Order) -> None:
        """Start an order, once its files are here: in a thread, since those may take minutes."""
        key = (order.order_id, order.epoch)
        if key not in self._begun or not self._begun[key].is_alive():
            self._begun[key] = threading.Thread(target=self._start, args=(order,), daemon=True)
            self._begun[key].start()

    def _start(self, order: Order) -> None:
        try:
            for sha256 in self.spool.lacks(order):
                self._fetch(sha256)
        except (AlmaflowError, OSError) as error:
            self.trouble = str(error)  # and tried again at the next beat
            return
        environment = environment_for(order.environment, self._machine) if order.environment else None
        python = environment.python if environment else self._machine.environments[0].python
        with self._lock, suppress(AlmaflowError):  # it was cancelled meanwhile
            self.spool.start(order.order_id, python)
        self._wake.set()

    def _fetch(self, sha256: str) -> None:
        stream = io.BufferedReader(ChunkReader(lambda offset: self._ask("read_blob", sha256, offset)))
        self.spool.put_blob(sha256, cast("BinaryIO", stream))

    def _held(self) -> list[Held]:
        """Return what lies in the spool."""
        found = []
        for order_id in self.spool.orders():
            state = self.spool.state(order_id)
            order = self._order(order_id, state)
            ended = _STATES.get(state.state, OrderState.failed)
            found.append(Held(order, ended, state.code, state.line))
        return [*found, *self._refused.values()]

    def _order(self, order_id: str, state: SpoolState) -> Order:
        known = self._kept.get(order_id)
        if known is None or known.epoch != state.epoch:
            known = self._kept[order_id] = replace(self.spool.order(order_id), configuration={}, past=())
        return known

    def _tell_events(self, held: list[Held]) -> None:
        """Tell the broker what orders told since the last time."""
        for each in held:
            key = (each.order.order_id, each.order.epoch)
            since, count = self._events.get(key, (0, 0))
            events, after = self.spool.events(each.order.order_id, since)
            if events:
                lines = [to_line(replace(event, epoch=each.order.epoch)) for event in events]
                self._ask("progress", *key, count, lines)
                self._events[key] = (after, count + len(events))

    def _end_overdue(self) -> None:
        """Cancel orders that are over their time, and kill those that do not end."""
        now = self._clock()
        for order_id in self.spool.orders():
            state = self.spool.state(order_id)
            if state.state != RUNNING:
                self._stopping.pop(order_id, None)
                continue
            limit_s = self._order(order_id, state).time_limit_s
            began = self._since.setdefault((order_id, state.epoch), now)
            if limit_s is not None and now - began > limit_s and order_id not in self._stopping:
                self._stopping[order_id] = now + STOPS_WITHIN_S
                self.spool.cancel(order_id)
            if now > self._stopping.get(order_id, now) and state.pid:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(state.pid, signal.SIGKILL)
