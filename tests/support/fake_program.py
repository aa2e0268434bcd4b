"""Stands for ``almaflow.fleet.run_order``: what it does is the name of the order's model. It is quick."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from filelock import FileLock
from tests.support.fake_fleet import write_result

from almaflow.fleet.spool import CANCELLED, DONE, FAILED, RUNNING, Spool, SpoolState
from almaflow.records import write_json


def main(directory: str) -> None:
    place = Path(directory)
    with FileLock(place / "lock"):
        order = Spool(place.parent.parent).order(place.name)
        running = SpoolState(RUNNING, order.epoch, os.getpid())
        write_json(place / "state.json", running)
        (place.parent.parent / "log").open("a").write(f"begin {place.name} {order.epoch}\n")
        try:
            state = behave(order.configuration["model"]["name"], place, order.epoch)
        except KeyboardInterrupt:
            state = SpoolState(CANCELLED, order.epoch)
        (place.parent.parent / "log").open("a").write(f"end {place.name} {order.epoch}\n")
        write_json(place / "state.json", state)


def behave(name: str, place: Path, epoch: int) -> SpoolState:
    if name == "fails":
        return SpoolState(FAILED, epoch, code=2, line="the model does not build")
    if name == "hangs":
        time.sleep(600)
    if name == "dies" or (name == "dies once" and epoch == 1):
        if name == "dies":
            write_result(place / "job", place.name)
        os.kill(os.getpid(), signal.SIGKILL)
    write_result(place / "job", place.name)
    return SpoolState(DONE, epoch)


if __name__ == "__main__":
    main(sys.argv[1])
