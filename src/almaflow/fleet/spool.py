"""The spool of a machine: orders that it accepted, and their results until these were fetched.

::

    spool/
        blobs/SHA256                files that orders need, each sent once
        orders/ORDER_ID/
            order.json              written and synced before the order counts as accepted
            state.json              how far it got; written last
            events.jsonl            what it tells while it runs
            cancelled               there once it was to be interrupted
            lock                    held by the program that runs it
            log                     what that program prints
            job/                    the directory of the job

The program that runs an order needs nobody else. So it goes on where whatever started it is gone, and its result lies
here until somebody asks for it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from almaflow.errors import AlmaflowError, RecordError
from almaflow.fleet.blobs import Blobs
from almaflow.fleet.durable import sync_directory, write_new
from almaflow.fleet.environment import measuring_environment
from almaflow.records import read_json, write_json
from almaflow.records.json_files import from_line
from almaflow.records.order import INTERRUPTED, ORDER_SCHEMA, Order, OrderEvent
from almaflow.secrets import PRIVATE

MODULE = "almaflow.fleet.run_order"

ACCEPTED, RUNNING, DONE, FAILED, CANCELLED, DIED = "accepted", "running", "done", "failed", "cancelled", "died"
"""States of an order here. ``cancelled``: and nothing was measured. ``died``: its program ended without a word."""

_ORDER_ID = re.compile(r"[\w.-]{1,100}")


class StaleOrderError(AlmaflowError):
    """The order comes under an older grant than one that this machine has seen."""


@dataclass(frozen=True)
class SpoolState:
    """How far an order got on this machine."""

    state: str
    epoch: int
    pid: int | None = None
    code: int | None = None
    """Exit code that ``almaflow run`` would have had, of an order that ended."""
    line: str = ""
    """Why it failed."""


class Spool:
    """The spool below one directory, which one machine has for itself."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = Blobs(root / "blobs")
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        """Programs that this process started: it has to take note of their ends."""

    def directory(self, order_id: str) -> Path:
        """Return the directory of an order.

        Raises:
            AlmaflowError: the ID is none, and might lead elsewhere.
        """
        if not _ORDER_ID.fullmatch(order_id) or order_id.startswith("."):
            message = f"{order_id!r} is no ID of an order"
            raise AlmaflowError(message)
        return self.root / "orders" / order_id

    def accept(self, order: Order) -> bool:
        """Take an order; from then on it is not lost while the disk is not.

        Returns:
            False where it was accepted under this very grant before, so that there is nothing to do.

        Raises:
            StaleOrderError: it was accepted under a later grant.
            AlmaflowError: the order has another form than this almaflow knows, or runs under an earlier grant.
        """
        if order.schema != ORDER_SCHEMA:
            message = (
                f"the order has form {order.schema}, and almaflow on this machine knows form {ORDER_SCHEMA}: "
                "install the same version of almaflow on both"
            )
            raise AlmaflowError(message)
        place = self.directory(order.order_id)
        if (place / "order.json").exists():
            seen = self.order(order.order_id).epoch
            if order.epoch < seen:
                message = f"order {order.order_id} comes under grant {order.epoch}, and grant {seen} was seen here"
                raise StaleOrderError(message)
            if order.epoch == seen:
                return False
            if self._runs(place):
                message = f"order {order.order_id} still runs here under grant {seen}"
                raise AlmaflowError(message)
            shutil.rmtree(place)  # died under an earlier grant
        place.mkdir(PRIVATE, parents=True)
        write_json(place / "order.json", order)
        for directory in (place, place.parent, self.root):
            sync_directory(directory)
        return True

    def order(self, order_id: str) -> Order:
        """Read an order.

        Raises:
            RecordError: its file is damaged.
        """
        return read_json(self.directory(order_id) / "order.json", Order)

    def orders(self) -> list[str]:
        """Return the IDs of the orders that lie here."""
        return sorted(path.parent.name for path in self.root.glob("orders/*/order.json"))

    def lacks(self, order: Order) -> list[str]:
        """Return the digests of files that the order needs and that are not here."""
        return self.blobs.lacks(order)

    def put_blob(self, sha256: str, source: BinaryIO) -> None:
        """Keep a file that orders need; see ``Blobs.put``."""
        self.blobs.put(sha256, source)

    def start(self, order_id: str, python: str | None = None, *, cwd: Path | None = None) -> int:
        """Start the program that runs an order, in a session of its own, and return its process ID.

        Args:
            order_id: An order that was accepted; it is started once for each grant.
            python: The interpreter of the environment to run in; this one where none is given.
            cwd: Where it starts; in the order's directory unless given.

        Raises:
            AlmaflowError: it was started before.
        """
        place = self.directory(order_id)
        if self.state(order_id).state != ACCEPTED:
            message = f"order {order_id} was started under this grant before"
            raise AlmaflowError(message)
        command = [python or sys.executable, "-P", "-m", MODULE, str(place)]
        with (place / "log").open("ab") as log:
            process = self._started[order_id] = subprocess.Popen(
                command,
                env=measuring_environment(),
                cwd=cwd or place,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        epoch = self.order(order_id).epoch
        with suppress(FileExistsError):  # the program was quicker, and knows more
            write_new(place / "state.json", SpoolState(RUNNING, epoch, process.pid))
        return process.pid

    def state(self, order_id: str) -> SpoolState:
        """Return how far an order got."""
        place = self.directory(order_id)
        if process := self._started.get(order_id):
            process.poll()
        try:
            state = read_json(place / "state.json", SpoolState)
        except FileNotFoundError:
            return SpoolState(ACCEPTED, self.order(order_id).epoch)
        if state.state == RUNNING and not self._runs(place):
            with suppress(FileNotFoundError):
                state = read_json(place / "state.json", SpoolState)  # it may have ended between the two looks
            if state.state == RUNNING and (place / "cancelled").exists():  # it heard that before it could say so
                ended = DONE if self.measured(order_id) else CANCELLED
                return SpoolState(ended, state.epoch, state.pid, INTERRUPTED)
            if state.state == RUNNING:
                log = (place / "log").relative_to(self.root.parent)  # others read it: no directory of this machine
                return SpoolState(DIED, state.epoch, line=f"its program ended without a word; see {log} there")
        return state

    def events(self, order_id: str, since: int = 0) -> tuple[list[OrderEvent], int]:
        """Return what an order told from a place of its file on, and the place to go on from.

        The order's end is not among it: ``state`` tells that.
        """
        try:
            with (self.directory(order_id) / "events.jsonl").open("rb") as stream:
                stream.seek(since)
                data = stream.read()
        except FileNotFoundError:
            return [], since
        whole = data[: data.rfind(b"\n") + 1]
        events = []
        for line in whole.decode("utf-8", "replace").splitlines():
            with suppress(RecordError):  # what a power cut left
                events.append(from_line(line, OrderEvent))
        return events, since + len(whole)

    def measured(self, order_id: str) -> bool:
        """Whether an order has a record of its job, also where its program died."""
        return (self.directory(order_id) / "job" / "job.json").exists()

    def pack(self, order_id: str) -> Path:
        """Pack the job's directory, and return the archive, which lies in the order's directory.

        Raises:
            AlmaflowError: the order has none.
        """
        place = self.directory(order_id)
        if not self.measured(order_id):
            message = f"order {order_id} has no result on this machine"
            raise AlmaflowError(message)
        return Path(shutil.make_archive(str(place / "job"), "zip", place / "job"))

    def cancel(self, order_id: str) -> None:
        """Interrupt an order as Ctrl-C does: what it has measured stays; one that has not begun never begins."""
        place, state = self.directory(order_id), self.state(order_id)
        if state.state == ACCEPTED:
            with suppress(FileExistsError):
                write_new(place / "state.json", SpoolState(CANCELLED, state.epoch))
                return
        if state.state in {ACCEPTED, RUNNING} and (pid := self.state(order_id).pid) and self._runs(place):
            (place / "cancelled").touch()
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)

    def remove(self, order_id: str) -> None:
        """Remove an order, once its result is recorded; files that no other order needs go too."""
        shutil.rmtree(self.directory(order_id), ignore_errors=True)
        self._started.pop(order_id, None)
        known = []
        for each in self.orders():
            with suppress(RecordError, FileNotFoundError):
                known.append(self.order(each))
        self.blobs.keep_those_of(known)

    def _runs(self, place: Path) -> bool:
        """Whether the program of an order is alive: it holds the lock, or is just being started."""
        lock = FileLock(place / "lock", mode=0o600)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return True
        lock.release()
        return _is_starting(place)


def _is_starting(place: Path) -> bool:
    """Whether the program was started and has not come to its lock yet."""
    import psutil

    with suppress(OSError, RecordError):
        state = read_json(place / "state.json", SpoolState)
        if state.state == RUNNING and state.pid:
            with suppress(psutil.Error):
                process = psutil.Process(state.pid)
                return process.status() != psutil.STATUS_ZOMBIE and str(place) in process.cmdline()
    return False
