"""The spool of a machine: orders that it accepted, and their results until these were fetched.

::

    spool/
        blobs/SHA256                files that orders need, each sent once
        orders/ORDER_ID/
            order.json              written and synced before the order counts as accepted
            state.json              how far it got; written last
            events.jsonl            what it tells while it runs
            lock                    held by the program that runs it
            log                     what that program prints
            job/                    the directory of the job

The program that runs an order needs nobody else. So it goes on where whatever started it is gone, and its result lies
here until somebody asks for it.
"""

from __future__ import annotations

import hashlib
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
from almaflow.fleet.environment import measuring_environment
from almaflow.records import read_json, write_json
from almaflow.records.json_files import from_line
from almaflow.records.order import ORDER_SCHEMA, Order, OrderEvent
from almaflow.secrets import PRIVATE

MODULE = "almaflow.fleet.run_order"

ACCEPTED, RUNNING, DONE, FAILED, CANCELLED, DIED = "accepted", "running", "done", "failed", "cancelled", "died"
"""States of an order here. ``cancelled``: and nothing was measured. ``died``: its program ended without a word."""

_ORDER_ID = re.compile(r"[\w.-]{1,100}")
_BLOCK = 1 << 20


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
            _sync_directory(directory)
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
        return sorted({blob.sha256 for blob in order.blobs.values() if not self.blob(blob.sha256).exists()})

    def blob(self, sha256: str) -> Path:
        """Return the place of a file by its digest."""
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            message = f"{sha256!r} is no digest of a file"
            raise AlmaflowError(message)
        return self.root / "blobs" / sha256

    def put_blob(self, sha256: str, source: BinaryIO) -> None:
        """Keep a file under its digest.

        Raises:
            AlmaflowError: what came is another file.
        """
        place = self.blob(sha256)
        place.parent.mkdir(PRIVATE, parents=True, exist_ok=True)
        part, digest = place.with_name(f".{sha256}.{os.getpid()}.part"), hashlib.sha256()
        with part.open("wb") as stream:
            while block := source.read(_BLOCK):
                digest.update(block)
                stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())
        if digest.hexdigest() != sha256:
            part.unlink()
            message = f"the file {sha256[:12]} came in another form than it was sent: send the order again"
            raise AlmaflowError(message)
        part.replace(place)

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
            process = self._started[order_id] = subprocess.Popen(  # noqa: S603 - an interpreter of this machine, and our own module
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
            if state.state == RUNNING:
                return SpoolState(DIED, state.epoch, line=f"its program ended without a word; see {place / 'log'}")
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
        events = [from_line(line, OrderEvent) for line in whole.decode("utf-8").splitlines()]
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
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)

    def remove(self, order_id: str) -> None:
        """Remove an order, once its result is recorded; files that no other order needs go too."""
        shutil.rmtree(self.directory(order_id), ignore_errors=True)
        self._started.pop(order_id, None)
        needed = set()
        for each in self.orders():
            with suppress(RecordError, FileNotFoundError):
                needed |= {blob.sha256 for blob in self.order(each).blobs.values()}
        for path in self.root.glob("blobs/[0-9a-f]*"):
            if path.name not in needed:
                path.unlink(missing_ok=True)

    def _runs(self, place: Path) -> bool:
        """Whether the program of an order is alive: it holds the lock, or is just being started."""
        lock = FileLock(place / "lock", mode=0o600)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return True
        lock.release()
        return _is_starting(place)


def write_new(path: Path, record: object) -> None:
    """Write a record whole, but only where there is none yet.

    Raises:
        FileExistsError: there is one.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.new")
    write_json(part, record)
    try:
        os.link(part, path)
    finally:
        part.unlink()


def unpack(archive: Path, into: Path) -> None:
    """Unpack a job's directory, and sync it; a name that leads out of the directory stays in it."""
    shutil.unpack_archive(archive, into, "zip")  # zipfile drops `..` and what makes a path absolute
    sync_tree(into)


def sync_tree(root: Path) -> None:
    """Bring every file below a directory to the disk."""
    for directory, _, names in os.walk(root):
        for name in names:
            with Path(directory, name).open("rb") as stream:
                os.fsync(stream.fileno())
        _sync_directory(Path(directory))


def _sync_directory(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


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
