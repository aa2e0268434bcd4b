"""Run a worker: one process, one task, one result file.

It is started as ``python -m almaflow.worker.main TASK.json PIPE``, or called by the server that forked it. PyTorch is
imported by the modules that this one imports inside ``main``, after the process is bound to its processors; the parent
has set the thread counts in the environment before. The result is written after each step, so that a crash in a later
one does not lose it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from almaflow.errors import UsageError
from almaflow.records import WorkerResult, WorkerTask, read_json, write_json
from almaflow.records.protocol import EventWriter
from almaflow.records.trouble import exit_code
from almaflow.worker.allocator import keep_memory
from almaflow.worker.failures import classify
from almaflow.worker.turns import TurnInbox

if TYPE_CHECKING:
    from collections.abc import Iterable


def main(arguments: list[str]) -> None:
    """Do the task, and end the process without the destructors of converted code, which often crash."""
    started = time.perf_counter() - _process_age_s()
    task = read_json(arguments[0], WorkerTask)
    events = EventWriter(int(arguments[1]))
    result_path = Path(task.work_dir) / "result.json"
    faulthandler.enable()
    bind(task.hardware.cpus)
    if task.measure.keep_memory:
        keep_memory()
    inbox = TurnInbox()
    _prefer_as_oom_victim()
    sys.path[:1] = list(task.sys_path)
    result = WorkerResult()

    def keep(update: WorkerResult) -> None:
        nonlocal result
        result = update
        try:
            write_json(result_path, result)
        except OSError as error:
            end_for(error)  # nothing that the worker might do next could be kept

    try:
        events.enter("load")
        if task.conversion is None:
            from almaflow.worker.reference import prepare

            prepare(task, events, inbox, lambda prepared: keep(replace(result, prepared=prepared)))
        else:
            from almaflow.worker.conversion import run_conversion

            run_conversion(
                task, events, inbox, started, lambda measurement: keep(replace(result, measurement=measurement))
            )
        keep(replace(result, finished=True))
    except UsageError as error:
        keep(replace(result, bad_input=str(error), finished=True))
    except BaseException as error:  # noqa: BLE001 - converted code may raise anything, even SystemExit
        keep(replace(result, failure=classify(error, events.phase, task.conversion), finished=True))
    for stream in (sys.stdout, sys.stderr):
        # Converted code may have closed or replaced them.
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(0)


def end_for(error: BaseException) -> NoReturn:
    """End this process at once; the exit code tells the parent of a full disk, whose log may lack the reason."""
    with contextlib.suppress(Exception):
        traceback.print_exception(error)
    os._exit(exit_code(error.errno if isinstance(error, OSError) else None))


def bind(cpus: Iterable[int] | None) -> None:
    """Bind this process and its children to these processors; None changes nothing."""
    if cpus is not None:
        os.sched_setaffinity(0, cpus)


def _process_age_s() -> float:
    """Return the seconds since this process started; interpreter start and imports belong to the load time."""
    import psutil

    return max(0.0, time.time() - psutil.Process().create_time())


def _prefer_as_oom_victim() -> None:
    # The file exists on Linux only; raising one's own score needs no privilege.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


if __name__ == "__main__":
    main(sys.argv[1:])
