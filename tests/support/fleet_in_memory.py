"""A broker and machines in this process: calls are made directly, and the clock is the test's."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.fake_spool import FakeSpool

from almaflow.errors import AlmaflowError
from almaflow.fleet.agent import Agent
from almaflow.fleet.broker_service import BrokerService, event_of
from almaflow.records.order import FleetMachine, MachineEnvironment, Order

if TYPE_CHECKING:
    from pathlib import Path

HERE = MachineEnvironment("default", "/usr/bin/python-here", {"torch": "2.14.1"})
OTHER = MachineEnvironment("old", "/usr/bin/python-old", {"torch": "2.7.1"})


def an_order(number: int = 1, **more: Any) -> Order:
    return Order(f"order-{number}", "ann", "cpu", {"model": "simple"}, **more)


@dataclass
class Fleet:
    """A broker, and machines whose calls reach it while their cable is in."""

    root: Path
    now: float = 1000.0
    agents: dict[str, Agent] = field(default_factory=dict)
    pulled: set[str] = field(default_factory=set)
    sent: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.new_broker()

    def new_broker(self, grace_s: float = 0.0) -> None:
        self.broker = BrokerService(
            self.root / "blobs", quota=None, send=self._send, clock=lambda: self.now, grace_s=grace_s
        )

    def _send(self, name: str, line: str) -> None:
        self.sent.append((name, line))

    def deliver(self) -> None:
        sent, self.sent = self.sent, []
        for name, line in sent:
            if name not in self.pulled:
                self.agents[name].take(line)

    def machine(self, name: str) -> Agent:
        spool = FakeSpool(self.root / name)
        record = FleetMachine(name, ("cpu",), 2, 8.0, "a processor", "0", (HERE, OTHER))

        def ask(call: str, *arguments: Any) -> Any:
            if name in self.pulled:
                message = "no answer"
                raise AlmaflowError(message)
            return getattr(self.broker, call)(*arguments)

        self.agents[name] = Agent(spool, record, f"{name}-on", ask, name, clock=lambda: self.now)
        return self.agents[name]

    def step(self, seconds: float = 1.0) -> None:
        self.now += seconds
        self.deliver()
        for agent in self.agents.values():
            with suppress(AlmaflowError):
                agent.step()
            self.deliver()
            for thread in [*agent._begun.values()]:
                thread.join()
            with suppress(AlmaflowError):
                agent.step()
        with self.broker._lock:
            self.broker._settle()

    def stands(self, order_id: str) -> Any:
        return event_of(self.broker.news({order_id: (0, 0)})[order_id]["stands"])


def spool_of(agent: Agent) -> FakeSpool:
    assert isinstance(agent.spool, FakeSpool)
    return agent.spool
