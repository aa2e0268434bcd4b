"""What the fault ``call`` calls beside functions of the standard library: harmless deeds of a user or of his code."""

from __future__ import annotations

import atexit
import os
import threading
import time
from pathlib import Path

from tests.faults.inject import HELD_FOR_S

_SLEEP = time.sleep


def without_environment() -> None:
    """Empty the environment."""
    os.environ.clear()


def endless_thread() -> None:
    """Leave a thread that the interpreter waits for at its end."""
    threading.Thread(target=time.sleep, args=(HELD_FOR_S,)).start()


def endless_exit() -> None:
    """Have the interpreter do something at its end that takes longer than anybody waits."""
    atexit.register(time.sleep, HELD_FOR_S)


def join_group(path: str) -> None:
    """Become a member of a control group, and with it all that is started from here."""
    (Path(path) / "cgroup.procs").write_text(str(os.getpid()))


def fill_memory(megabytes: int) -> None:
    """Write to so much memory, a little at a time."""
    kept = []
    for _ in range(megabytes // 10):
        kept.append(bytearray(os.urandom(1000) * 10_000))
        time.sleep(0.005)


def sleeping_threads(count: int) -> None:
    """Leave so many threads that do nothing."""
    for _ in range(count):
        threading.Thread(target=time.sleep, args=(HELD_FOR_S,), daemon=True).start()


def disturbed(seconds: float) -> None:
    """From now on the model's calls take so much longer, as beside a program that takes the processors."""
    time.sleep = lambda asked_s, /: _SLEEP(float(asked_s) + seconds)
