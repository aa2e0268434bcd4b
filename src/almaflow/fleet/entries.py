"""What the broker knows of a machine and of an order, what machines report, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from almaflow.records.order import INTERRUPTED, Order, OrderState  # both at run time: Held is read from JSON

if TYPE_CHECKING:
    from almaflow.records.order import FleetMachine


RUNS = frozenset({OrderState.started, OrderState.running})
"""States of an order in a spool that keep its machine busy."""


@dataclass(frozen=True)
class Held:
    """An order in the spool of a machine."""

    order: Order
    """The order under the epoch that it was granted with; its configuration may be left empty."""
    state: OrderState
    """``started`` where it is accepted and does not run yet, ``running``, ``done``, ``failed`` or ``cancelled``."""
    code: int | None = None
    """Exit code of an order that failed; None where it ended without a word, and is tried again."""
    line: str = ""

    @property
    def is_part(self) -> bool:
        """Whether it was interrupted, so that its result is only a part."""
        return self.state is OrderState.done and self.code == INTERRUPTED


@dataclass(frozen=True)
class Reply:
    """The answer to a beat: what the machine has to do with the orders of its spool."""

    stop: tuple[str, ...] = ()
    """Orders that run and are not its to run any more."""
    remove: tuple[str, ...] = ()
    """Orders whose result of this machine is recorded."""
    superseded: tuple[str, ...] = ()
    """Orders of which another machine's result is recorded."""


@dataclass(frozen=True)
class Grant:
    """A decision: the machine is to run the order under this epoch."""

    order_id: str
    machine_id: str
    epoch: int


@dataclass
class MachineEntry:
    """A machine as the broker knows it."""

    machine: FleetMachine
    instance: str
    heard_at: float
    order_id: str | None = None
    """The order that it is leased to."""
    running: frozenset[str] = frozenset()
    """What it runs by its own account, leased or not."""
    results: set[str] = field(default_factory=set)
    """Orders whose result it has."""
    is_drained: bool = False
    is_lost: bool = False

    @property
    def is_idle(self) -> bool:
        """Whether it may be granted."""
        return not (self.order_id or self.running or self.is_drained or self.is_lost)


@dataclass
class OrderEntry:
    """An order as the broker knows it."""

    order: Order
    epoch: int
    """The highest epoch that anybody told of; 0: none."""
    machine_id: str | None = None
    """The machine that is leased to it; ``leased_epoch`` and ``granted_at`` belong to that lease."""
    leased_epoch: int = 0
    granted_at: float = 0.0
    is_submitted: bool = False
    """Whether its coordinator told of it; of a new broker's orders, a machine may be the first to tell."""
    is_accepted: bool = False
    """Whether the machine told that it has the order."""
    results: dict[str, int] = field(default_factory=dict)
    """Epochs by the machines that have a result and can be reached, in the order in which they told."""
    recorded_of: str | None = None
    """The machine whose result was recorded."""
    end: OrderState | None = None
    """``done`` once its result is recorded, ``failed`` or ``cancelled``; None while it may still be granted."""
    line: str = ""
    """Why it failed, or waits again."""
    code: int | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a machine."""
        return self.end is None and self.machine_id is None and not self.results

    @property
    def is_given_up(self) -> bool:
        """Whether every attempt was lost; a late result still counts."""
        return self.end is OrderState.failed and self.code is None

    @property
    def may_be_leased(self) -> bool:
        """Whether a machine that runs it, with or without a lease, may go on."""
        return self.is_waiting or self.is_given_up

    @property
    def state(self) -> OrderState:
        """Its state in a word."""
        if self.end is not None:
            return self.end
        if self.results:
            return OrderState.done
        if self.machine_id is None:
            return OrderState.queued
        return OrderState.running if self.is_accepted else OrderState.started


class IdleMachines:
    """Keeps the IDs of idle machines by kind, the longest idle first; every machine is of the kind None."""

    def __init__(self) -> None:
        """Begin with no machine."""
        self._by_kind: dict[str | None, dict[str, None]] = {}

    def of(self, kind: str | None) -> tuple[str, ...]:
        """Return the idle machines of a kind."""
        return tuple(self._by_kind.get(kind, ()))

    def add(self, machine: MachineEntry) -> bool:
        """Add a machine, and return whether it was not idle before."""
        machine_id = machine.machine.machine_id
        if machine_id in self._by_kind.get(None, ()):
            return False
        for kind in (*machine.machine.kinds, None):
            self._by_kind.setdefault(kind, {})[machine_id] = None
        return True

    def remove(self, machine: MachineEntry) -> None:
        """Remove a machine, if it was idle."""
        for kind in (*machine.machine.kinds, None):
            self._by_kind.get(kind, {}).pop(machine.machine.machine_id, None)
