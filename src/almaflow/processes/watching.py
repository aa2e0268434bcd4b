"""Watches workers side by side, in one thread: an interrupt then ends the wait wherever it is.

The parent sleeps in ``select`` until a worker says something, and wakes a few times a second to look at the clock, the
memory and the log of each.
"""

from __future__ import annotations

import selectors
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from almaflow.processes.worker_handle import WorkerHandle

WATCH_INTERVAL_S = 0.2
"""Seconds between two looks at the clock, the memory and the log: rare enough not to disturb the worker."""

ENDING_INTERVAL_S = 0.02
"""Seconds between two looks once a worker has closed its pipe, which it does by ending."""


def wait_for_any(
    workers: Sequence[WorkerHandle],
    enough: Callable[[WorkerHandle], bool],
    after_each_look: Callable[[], None] = lambda: None,
) -> list[WorkerHandle]:
    """Wait until a worker is as far as ``enough`` says, or has ended, by itself or for a limit that it breaks.

    Args:
        workers: Those that work at the same time, at least one. Time counts for them only while somebody waits.
        enough: Whether nobody has to wait for this worker any more.
        after_each_look: Is called a few times a second; it may end workers.

    Returns:
        All workers of which that is true now.
    """
    for worker in workers:
        worker.attend()
    while not (there := [worker for worker in workers if enough(worker) or not worker.running]):
        ended = [worker.has_ended() for worker in workers]
        late_s = 0.0 if any(ended) else _sleep_until_told(workers)
        for worker in workers:
            worker.look(late_s, beside=len(workers) - 1)
        after_each_look()
    return there


def _sleep_until_told(workers: Sequence[WorkerHandle]) -> float:
    """Sleep until a worker says something or a look is due; return by how many seconds that was too late."""
    pipes = [worker.pipe for worker in workers]
    timeout_s = ENDING_INTERVAL_S if None in pipes else WATCH_INTERVAL_S
    asked_at = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ)
        if selector.get_map():
            selector.select(timeout_s)
        else:
            time.sleep(timeout_s)
    return time.monotonic() - asked_at - timeout_s
