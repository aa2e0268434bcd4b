"""The program that runs an order on a machine: ``python -m almaflow.fleet.run_order DIRECTORY``.

It runs an ordinary job in the environment that it is started in, without a store, and leaves the job's directory in
the directory of the order. See ``fleet/spool.py`` for what lies there.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from almaflow.errors import AlmaflowError, RecordError, UsageError
from almaflow.fleet.durable import sync_tree
from almaflow.fleet.order_progress import OrderProgress
from almaflow.fleet.spool import CANCELLED, DONE, FAILED, RUNNING, Spool, SpoolState
from almaflow.records import read_json, write_json
from almaflow.records.order import INTERRUPTED
from almaflow.secrets import mask

if TYPE_CHECKING:
    from almaflow.jobs.request import Request
    from almaflow.records.order import Order

JOB = "<job>"
"""What stands for the job's directory in files that leave the machine."""

TEXTS = frozenset({".json", ".txt", ".log", ".py", ".md", ".yaml", ".html"})
"""Endings of a job's files that may name directories."""


def main(directory: str) -> int:
    """Run the order in a directory of the spool, unless it was run before, and return the exit code of its job."""
    _hear_interrupts()
    place = Path(directory)
    lock = FileLock(place / "lock", mode=0o600)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return 0  # another one runs it
    with lock:
        spool = Spool(place.parent.parent)
        order = spool.order(place.name)
        if not _is_mine(place):
            return 0
        write_json(place / "state.json", SpoolState(RUNNING, order.epoch, os.getpid()))
        state = _run(spool, order, place / "job")
        if spool.measured(order.order_id):
            _hide_places(place / "job")
            sync_tree(place / "job")  # before it counts as done: the power may fail
        write_json(place / "state.json", state)
        return state.code or 0


def _hear_interrupts() -> None:
    """Let an order be cancelled, also where whatever started this program blocks or ignores SIGINT, as Ray does."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_mine(place: Path) -> bool:
    """Whether this process is to run the order: nobody has begun it, and it was not cancelled."""
    try:
        state = read_json(place / "state.json", SpoolState)
    except FileNotFoundError:
        return True
    except RecordError:
        return False
    return state.state == RUNNING and state.pid == os.getpid()


def _run(spool: Spool, order: Order, directory: Path) -> SpoolState:
    """Run the job, and return how it ended; whatever happens, it is told in one line."""
    from almaflow.processes.interrupts import as_interrupts

    ended, me = SpoolState(DONE, order.epoch, os.getpid()), os.getpid()
    try:
        with as_interrupts(signal.SIGINT, signal.SIGTERM, signal.SIGHUP), _limited(order.time_limit_s):
            from almaflow.jobs.run import run_job

            job = run_job(_request(spool, order, directory), OrderProgress(directory.parent, order))
            if job.interrupted:
                ended = replace(ended, code=INTERRUPTED)
    except KeyboardInterrupt:
        ended = SpoolState(CANCELLED, order.epoch, me, INTERRUPTED)
    except AlmaflowError as error:
        ended = SpoolState(FAILED, order.epoch, me, error.exit_code, _told(str(error), directory))
    except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for a word elsewhere
        traceback.print_exc()
        line = _told(f"{type(error).__name__}: {error}", directory)
        ended = SpoolState(FAILED, order.epoch, me, AlmaflowError.exit_code, line)
    if ended.state != DONE and spool.measured(order.order_id):  # what was measured is a result
        return replace(ended, state=DONE)
    return ended


class _limited:  # noqa: N801 - a context manager is named as a function is
    """Interrupt this process after some seconds, as Ctrl-C does."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        if self._seconds:
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _request(spool: Spool, order: Order, directory: Path) -> Request:
    """Return the job that an order asks for, on this machine."""
    from almaflow.config.resolve import resolve_model
    from almaflow.config.validation import validate_plain
    from almaflow.jobs.request import Elsewhere, make_request

    if lacking := spool.lacks(order):
        message = f"the file {lacking[0][:12]} that the order needs is not on this machine: send the order again"
        raise UsageError(message)
    job = validate_plain(order.configuration)
    model = replace(order.model, directory=str(Path.cwd())) if order.model else resolve_model(job)
    files: dict[str, Any] = {name: str(spool.blobs.path(blob.sha256)) for name, blob in order.blobs.items()}
    request = make_request(job, sweep_id=order.sweep_id, model=replace(model, **files))
    return replace(request, elsewhere=Elsewhere(order.order_id, directory, order.past))


def _places(job: Path) -> dict[str, str]:
    """Return what stands elsewhere for directories of this machine, the innermost first."""
    from almaflow import machine

    places = {str(job): JOB, str(machine.home()): "<almaflow>", str(Path.home()): "~"}
    return {place: name for place, name in places.items() if len(Path(place).parts) > 1}


def _told(error: str, job: Path) -> str:
    """Return the line of an error as it leaves this machine."""
    for place, name in _places(job).items():
        error = error.replace(place, name)
    return mask(error)


def _hide_places(job: Path) -> None:
    """Replace directories of this machine, which may hold a user's name, in files that leave it."""
    known = [(place.encode(), name.encode()) for place, name in _places(job).items()]
    kept = job / "kept"  # has digests of its files, and no places
    for path in (each for each in job.rglob("*") if each.suffix in TEXTS and kept not in each.parents):
        before = after = path.read_bytes()
        for place, name in known:
            after = after.replace(place, name)
        if after != before:
            part = path.with_name(f".{path.name}.part")
            part.write_bytes(after)
            part.replace(path)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main(*sys.argv[1:]))
