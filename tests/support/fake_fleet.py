"""A fleet that does what a test tells it, and the orders and results that it has."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tests.support.example_jobs import job, ok
from tests.support.stored_jobs import PREPARED

from almaflow.errors import AlmaflowError, UsageError
from almaflow.fleet import spool as spooling
from almaflow.fleet.run_order import JOB
from almaflow.jobs.files import JobFiles
from almaflow.records import ModelSpec, write_json
from almaflow.records.kept_order import KeptOrder
from almaflow.records.order import Order, OrderEvent, OrderState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import pytest

    from almaflow.records.order import FleetMachine

MACHINE = "0123456789ab"


def use_fake_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have orders run by a program of the tests, which is found where this process finds it."""
    monkeypatch.setattr(spooling, "MODULE", "tests.support.fake_program")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))


def order(order_id: str = "order-1", **values: object) -> Order:
    return replace(Order(order_id, "ann", None, {"model": {"name": "resnet18"}}), **values)  # type: ignore[arg-type]


def kept(order_id: str = "order-1", **values: object) -> KeptOrder:
    """An order as its coordinator keeps it before it is sent."""
    made = KeptOrder(
        order=order(order_id),
        key="key",
        engine="local",
        address=None,
        store="sqlite:////a/store.db",
        experiment_name="almaflow",
        config={"batch_size": 2},
        model=ModelSpec("resnet18", arch="resnet18", batch_size=2),
        made_at=100.0,
    )
    return replace(made, **values)  # type: ignore[arg-type]


def write_result(directory: Path, order_id: str, *, machine: str = MACHINE, interrupted: bool = False) -> None:
    """Write what the program that runs an order leaves, as it leaves the machine."""
    outcome = replace(ok(), log_path=f"{JOB}/conversions/00-EAGER/worker.log")
    made = replace(
        job(outcome),
        job_id=order_id,
        directory=JOB,
        prepared=PREPARED,
        ended_at=500.0,
        interrupted=interrupted,
        machine=machine,
        store="sqlite:///<almaflow>/mlflow.db",
    )
    files = JobFiles.of(directory)
    files.create()
    files.write_outcome(files.conversion_dir(0, outcome.planned), outcome)
    (directory / "conversions/00-EAGER/worker.log").write_text("a log\n")
    write_json(directory / "job.json", made)


@dataclass
class FakeFleet:
    """Knows orders and results, and takes one step of its script whenever it is listened to."""

    root: Path
    script: list[Callable[[], None]] = field(default_factory=list)
    known: dict[str, Order] = field(default_factory=dict)
    last: dict[str, OrderEvent] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    unreachable: int = 0
    """How many times fetching fails."""
    news: list[OrderEvent] = field(default_factory=list)

    def tell(self, order_id: str, state: OrderState, epoch: int = 1, **more: object) -> None:
        event = OrderEvent(order_id, state, 1.0, epoch, MACHINE, **more)  # type: ignore[arg-type]
        self.last[order_id] = event
        self.news.append(event)

    def finish(self, order_id: str, epoch: int = 1, *, machine: str = MACHINE, interrupted: bool = False) -> None:
        """Let the order be done."""
        shutil.rmtree(self.root / order_id, ignore_errors=True)
        write_result(self.root / order_id, order_id, machine=machine, interrupted=interrupted)
        self.tell(order_id, OrderState.done, epoch)

    def machines(self) -> Sequence[FleetMachine]:
        return []

    def submit(self, order: Order, files: Mapping[str, Path]) -> None:
        del files
        if order.order_id in self.refused:
            message = "nobody offers it"
            raise UsageError(message)
        if order.order_id not in self.known:
            self.known[order.order_id] = order
            self.tell(order.order_id, OrderState.queued, 0, place=1)
        else:
            self.news.append(self.last[order.order_id])

    def events(self, timeout_s: float) -> Sequence[OrderEvent]:
        del timeout_s
        if not self.news:
            assert self.script, "the coordinator listens, and nothing more will happen"
            self.script.pop(0)()
        news, self.news = self.news, []
        return news

    def states(self, order_ids: Sequence[str]) -> Mapping[str, OrderEvent]:
        return {each: self.last[each] for each in order_ids if each in self.last}

    def fetch(self, order_id: str, into: Path) -> None:
        if self.unreachable:
            self.unreachable -= 1
            message = "the machine does not answer"
            raise AlmaflowError(message)
        shutil.copytree(self.root / order_id, into)

    def recorded(self, order_id: str) -> None:
        self.removed.append(order_id)

    def cancel(self, order_id: str) -> None:
        self.cancelled.append(order_id)

    def close(self) -> None:
        pass


@dataclass
class Lines:
    """A display that keeps what it is told."""

    events: list[OrderEvent] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def event(self, event: OrderEvent) -> None:
        self.events.append(event)

    def note(self, order_id: str, line: str) -> None:
        self.notes.append(f"{order_id}: {line}")

    def close(self) -> None:
        pass
