"""Workers that misbehave: ``python -m trouble`` is the real worker with the work replaced by one of these functions.

Nothing here imports torch, so that a test of the process boundary takes a fraction of a second. The task's
``model.target`` names the function; with a conversion it takes the events and ``keep`` as the real work does.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from almaflow.measure import worker
from almaflow.models.targets import call_target
from almaflow.records import Fidelity, Measurement, Prepared, TargetSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.measure.events import EventWriter
    from almaflow.records import WorkerTask

    Keep = Callable[[Measurement], None]

PIDS = "pids"
"""File in the worker's directory: its own process ID and that of what it started."""

HELPER = ("sh", "-c", "trap '' TERM; sleep 600 & wait")
"""A helper process that does not heed SIGTERM."""

PREPARED = Prepared(
    inputs=(), outputs=(), parameters=1, weights_digest="0", device_name="a device", threads={}, eager_s=0.1
)
FIDELITY = Fidelity(0.0, 1.0, 200.0, 1.0, rows=2, tolerance_db=50.0, ok=True)


def good() -> Prepared:
    return PREPARED


def chatter(megabytes: int) -> Prepared:
    sys.stdout.write("first words\n")
    for descriptor in (1, 2):
        for _ in range(megabytes):
            os.write(descriptor, os.urandom(1_000_000))
    sys.stderr.write("last words\n")
    return PREPARED


def close_descriptors() -> Prepared:
    sys.stdout.close()
    os.closerange(0, 64)
    return PREPARED


def write_everywhere() -> Prepared:
    for descriptor in range(3, 256):
        for garbage in (b"\x00\xff\n[[[", b"[" * 3000, b'\n{"phase": "nowhere"}\n{"phase": ["load"]}\n42\n'):
            try:
                os.write(descriptor, garbage)
            except OSError:
                break
    return PREPARED


def with_helper() -> Prepared:
    _note_pids(subprocess.Popen(HELPER).pid)
    return PREPARED


def sleep_for_ever() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _note_pids(subprocess.Popen(HELPER).pid)
    time.sleep(3600)


def eat_memory() -> None:
    held = []
    while True:
        held.append(b"x" * 20_000_000)
        time.sleep(0.01)


def abort() -> None:
    sys.stdout.write("about to abort\n")
    os.abort()


def segfault() -> None:
    ctypes.string_at(0)


def leave(code: int) -> None:
    sys.exit(code)


def leave_at_once(code: int) -> None:
    os._exit(code)


def long_result(_events: EventWriter, keep: Keep, samples: int) -> None:
    keep(measurement(tuple(0.25 + 1e-9 * i for i in range(samples)), FIDELITY))


def abort_while_checking(events: EventWriter, keep: Keep) -> None:
    keep(measurement((1.0, 2.0), None))
    events.enter("check")
    os.abort()


def leave_while_checking(events: EventWriter, keep: Keep) -> None:
    keep(measurement((1.0, 2.0), None))
    events.enter("check")
    os._exit(0)


def measurement(samples_ms: tuple[float, ...], fidelity: Fidelity | None) -> Measurement:
    return Measurement(
        samples_ms=samples_ms,
        batch_size=1,
        load_s=0.1,
        convert_s=0.1,
        first_call_s=0.1,
        total_s=0.3,
        warmup_calls=0,
        stable=True,
        device_actual="cpu",
        runtime={},
        threads={},
        fidelity=fidelity,
    )


def _note_pids(helper: int) -> None:
    part = Path(f"{PIDS}.part")
    part.write_text(f"{os.getpid()} {helper}", encoding="ascii")
    part.replace(PIDS)


def _prepare(task: WorkerTask) -> object:
    return call_target(TargetSpec(str(task.model.target), task.model.kwargs), "model")


def _run_conversion(task: WorkerTask, events: EventWriter, _started: float, keep: Keep) -> None:
    globals()[str(task.model.target).rpartition(".")[2]](events, keep, **task.model.kwargs)


def main() -> None:
    """Be the real worker, with its two modules that import torch replaced."""
    for name, work in (("prepare", _prepare), ("steps", _run_conversion)):
        module = ModuleType(f"almaflow.measure.{name}")
        setattr(module, work.__name__.removeprefix("_"), work)
        sys.modules[module.__name__] = module
    worker.main(sys.argv[1:])


if __name__ == "__main__":
    main()
