"""Workers that misbehave: the real worker, or the real server of workers, with the work replaced by these functions.

``python -m misbehaving_workers TASK PIPE`` is the worker, ``python -m misbehaving_workers SOCKET SETTINGS`` the server
that forks them. Nothing here imports torch, so that a test of the process boundary takes a fraction of a second. The
task's ``model.target`` names the function; with a conversion it takes the events, the turns and ``keep`` as the real
work does.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from almaflow.models.targets import call_target
from almaflow.records import Fidelity, Measurement, ReferenceInfo, Round, TargetSpec
from almaflow.records.protocol import RoundReport
from almaflow.worker import cuda_unstarted
from almaflow.worker import fork_server as server
from almaflow.worker import main as worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.records import WorkerTask
    from almaflow.records.protocol import EventWriter
    from almaflow.worker.turns import TurnInbox

    Keep = Callable[[Measurement], None]

PIDS = "pids"
"""File in the worker's directory: its own process ID and that of what it started."""

FACTS = "facts.json"
"""File in the worker's directory: what it finds itself to be."""

CUDA_UNSTARTED = "CUDA_UNSTARTED"
"""With this variable the server finds that it has not started CUDA; otherwise, that it has."""

HELPER = ("sh", "-c", "trap '' TERM; sleep 600 & wait")
"""A helper process that does not heed SIGTERM."""

PREPARED = ReferenceInfo(
    inputs=(), outputs=(), parameters=1, weights_digest="0", device_name="a device", threads={}, eager_s=0.1
)
FIDELITY = Fidelity(0.0, 1.0, 200.0, 1.0, rows=2, tolerance_db=50.0, ok=True)
REPORT = RoundReport(count=2, median_ms=1.5, wall_s=0.003)
"""Of each round of ``rounds``."""


def good() -> ReferenceInfo:
    return PREPARED


def chatter(megabytes: int) -> ReferenceInfo:
    sys.stdout.write("first words\n")
    for descriptor in (1, 2):
        for _ in range(megabytes):
            os.write(descriptor, os.urandom(1_000_000))
    sys.stderr.write("last words\n")
    return PREPARED


def close_descriptors() -> ReferenceInfo:
    sys.stdout.close()
    os.closerange(0, 64)
    return PREPARED


def write_everywhere() -> ReferenceInfo:
    for descriptor in range(3, 256):
        for garbage in (b"\x00\xff\n[[[", b"[" * 3000, b'\n{"phase": "nowhere"}\n{"phase": ["load"]}\n42\n'):
            try:
                os.write(descriptor, garbage)
            except OSError:
                break
    return PREPARED


def with_helper() -> ReferenceInfo:
    _note_pids(subprocess.Popen(HELPER).pid)
    return PREPARED


def sleep_for_ever() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _note_pids(subprocess.Popen(HELPER).pid)
    time.sleep(3600)


def leave_a_daemon() -> ReferenceInfo:
    """Start a process in a session of its own, whose parent ends at once."""
    command = "setsid sleep 600 >/dev/null 2>&1 & echo $!"
    _note_pids(int(subprocess.run(["sh", "-c", command], check=True, capture_output=True).stdout))
    return PREPARED


def helper_eats_memory(megabytes: int, for_s: float = 600.0) -> ReferenceInfo:
    held = f"import time; held = b'x' * {megabytes}_000_000; time.sleep({for_s})"
    with subprocess.Popen([sys.executable, "-c", held], start_new_session=True) as helper:
        _note_pids(helper.pid)
    return PREPARED


def eat_memory() -> None:
    held = []
    while True:
        held.append(b"x" * 20_000_000)
        time.sleep(0.01)


def fill_the_disk(number: int) -> ReferenceInfo:
    """Leave no room for a result."""

    def refuse(_path: object, _record: object) -> None:
        raise OSError(number, os.strerror(number))

    vars(worker)["write_json"] = refuse
    return PREPARED


def abort() -> None:
    sys.stdout.write("about to abort\n")
    os.abort()


def segfault() -> None:
    ctypes.string_at(0)


def leave(code: int) -> None:
    sys.exit(code)


def leave_at_once(code: int) -> None:
    os._exit(code)


def tell() -> ReferenceInfo:
    """Write down what a forked worker might have wrong."""
    facts = {
        "pid": os.getpid(),
        "session": os.getsid(0),
        "directory": str(Path.cwd()),
        "environment": dict(os.environ),
        "cpus": sorted(os.sched_getaffinity(0)),
        "standard": [os.fstat(descriptor).st_ino for descriptor in range(3)],
        "open": sorted(_open_files()),
        "child_signal_ignored": signal.getsignal(signal.SIGCHLD) is not signal.SIG_DFL,
        "modules": sorted(sys.modules),
        "cuda_unusable": cuda_unstarted.unusable(),
        "child_code": subprocess.run(["sh", "-c", "exit 7"], check=False).returncode,
    }
    Path(FACTS).write_text(json.dumps(facts), encoding="utf-8")
    return PREPARED


def rounds(_events: EventWriter, turns: TurnInbox, keep: Keep, trouble: str = "", at: int = 0, **kwargs: float) -> None:
    """Take a round whenever asked, and get into trouble while taking the one numbered ``at``."""
    taken = 1
    keep(_in_rounds(taken))
    _events.enter("ready", REPORT)
    while turn := turns.next():
        _events.enter("measure")
        if turn.index == at:
            globals()[trouble](**{name: value for name, value in kwargs.items() if value})
        taken += 1
        keep(_in_rounds(taken))
        _events.enter("ready", REPORT)


def evaluate(events: EventWriter, turns: TurnInbox, keep: Keep, aborts: bool) -> None:
    """Take rounds, and get into trouble while evaluating."""
    rounds(events, turns, keep)
    events.enter("evaluate")
    if aborts:
        os.abort()
    time.sleep(600)


def die_while_waiting(events: EventWriter, turns: TurnInbox, keep: Keep, code: int) -> None:
    threading.Timer(0.5, os._exit, (code,)).start()
    rounds(events, turns, keep)


def long_result(_events: EventWriter, _turns: TurnInbox, keep: Keep, samples: int) -> None:
    keep(measurement(tuple(0.25 + 1e-9 * i for i in range(samples)), FIDELITY))


def abort_while_checking(events: EventWriter, _turns: TurnInbox, keep: Keep) -> None:
    keep(measurement((1.0, 2.0), None))
    events.enter("check")
    os.abort()


def leave_while_checking(events: EventWriter, _turns: TurnInbox, keep: Keep) -> None:
    keep(measurement((1.0, 2.0), None))
    events.enter("check")
    os._exit(0)


def _in_rounds(count: int) -> Measurement:
    taken = tuple(Round(0, index, 2, 0.0, REPORT.wall_s, REPORT.wall_s, 1.0) for index in range(count))
    return replace(measurement((1.0, 2.0) * count, FIDELITY), rounds=taken)


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


def _open_files() -> list[int]:
    """Inodes behind the descriptors that this process has open, its own look at them left out."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.append(os.fstat(int(descriptor.name)).st_ino)
        except OSError:  # the descriptor of the listing itself
            continue
    return found


def _prepare(task: WorkerTask, _events: EventWriter, _turns: TurnInbox, keep: Callable[[object], None]) -> None:
    keep(call_target(TargetSpec(str(task.model.target), task.model.kwargs), "model"))


def _run_conversion(task: WorkerTask, events: EventWriter, turns: TurnInbox, _started: float, keep: Keep) -> None:
    globals()[str(task.model.target).rpartition(".")[2]](events, turns, keep, **task.model.kwargs)


def main() -> None:
    """Be the real worker or the real server, with the two modules that import torch replaced."""
    for name, work in (("reference", _prepare), ("conversion", _run_conversion)):
        module = ModuleType(f"almaflow.worker.{name}")
        setattr(module, work.__name__.removeprefix("_"), work)
        sys.modules[module.__name__] = module
    given = sys.argv[1:]
    if given[1].startswith("{"):
        vars(cuda_unstarted)["started"] = lambda: CUDA_UNSTARTED not in os.environ
        server.main(given)
    else:
        worker.main(given)


if __name__ == "__main__":
    main()
