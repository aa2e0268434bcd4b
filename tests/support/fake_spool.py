"""A spool whose orders are run by the test: the program is not started, and ends when the test says."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from almaflow.fleet.spool import ACCEPTED, CANCELLED, DONE, RUNNING, Spool, SpoolState
from almaflow.records import write_json
from almaflow.records.json_files import to_line
from almaflow.records.order import OrderEvent, OrderState

if TYPE_CHECKING:
    from pathlib import Path


class FakeSpool(Spool):
    """Starts nothing; ``end`` plays the end of an order."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.begun: list[tuple[str, int, str | None]] = []
        self.alive: set[str] = set()

    def start(self, order_id: str, python: str | None = None, *, cwd: Path | None = None) -> int:
        del cwd
        assert self.state(order_id).state == ACCEPTED
        epoch = self.order(order_id).epoch
        self.begun.append((order_id, epoch, python))
        self.alive.add(order_id)
        write_json(self.directory(order_id) / "state.json", SpoolState(RUNNING, epoch, os.getpid()))
        return os.getpid()

    def tell(self, order_id: str, line: str) -> None:
        with (self.directory(order_id) / "events.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(to_line(OrderEvent(order_id, OrderState.running, 1.0, line=line)))

    def end(self, order_id: str, state: str = DONE, code: int | None = 0) -> None:
        place = self.directory(order_id)
        (place / "job").mkdir()
        (place / "job" / "job.json").write_text(json.dumps({"of": order_id}), encoding="utf-8")
        self.alive.discard(order_id)
        write_json(place / "state.json", SpoolState(state, self.order(order_id).epoch, code=code))

    def cancel(self, order_id: str) -> None:
        if self.state(order_id).state == RUNNING:
            self.end(order_id, CANCELLED)
        else:
            super().cancel(order_id)

    def _runs(self, place: Path) -> bool:
        return place.name in self.alive
