"""Prepares conversions side by side: their workers load, convert, make a first call and are checked at the same time.

None of them warms up or takes a timed call meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.processes.watching import wait_for_any
from almaflow.processes.worker_handle import DEFAULT_MEMORY_SHARE
from almaflow.records import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from almaflow.measure.conversion_run import ConversionRun
    from almaflow.processes.worker_handle import WorkerHandle
    from almaflow.records import MeasureSpec

    Wait = Callable[
        [Sequence[WorkerHandle], Callable[[WorkerHandle], bool], Callable[[], None]], Sequence[WorkerHandle]
    ]


LEAST_COMPILE_JOBS = 2
"""Most compilers that one conversion may run at once, however many others there are: often inductor is the last one
that is prepared, and the others have left their cores to it."""


def compile_jobs(spec: MeasureSpec, conversions: int, cores: int) -> int | None:
    """Return how many C++ compilers each conversion may run at once; None: as many as it takes by itself.

    Args:
        spec: How many conversions are prepared at once.
        conversions: How many there are.
        cores: The physical cores that workers may use.
    """
    at_once = min(spec.prepare_jobs, spec.interleave, conversions)
    return max(LEAST_COMPILE_JOBS, cores // at_once) if at_once > 1 else None


class Preparing:
    """The conversions that are prepared now.

    Each worker keeps to its own limits of time and memory. For the sum of their memory the machine's free memory
    counts: where it runs short, the largest worker is ended, and prepared again when no other one is.

    Args:
        spec: How many are prepared at once, and the limits.
        free_memory_mb: Returns the memory that processes can still get, in MB (10^6 bytes).
        wait: Waits for one of several workers, as ``wait_for_any`` does.
    """

    def __init__(self, spec: MeasureSpec, free_memory_mb: Callable[[], float], wait: Wait = wait_for_any) -> None:
        self._spec, self._free_memory_mb, self._wait = spec, free_memory_mb, wait
        self._least_free_mb = (1 - DEFAULT_MEMORY_SHARE) * free_memory_mb()
        self._under_way: dict[WorkerHandle, ConversionRun] = {}
        self._by_themselves: set[ConversionRun] = set()
        """Those that had too little memory beside others."""
        self._made_room: set[WorkerHandle] = set()

    def __len__(self) -> int:
        """How many are prepared now."""
        return len(self._under_way)

    def has_room_for(self, run: ConversionRun) -> bool:
        """Whether another one may be prepared beside those that are.

        Runtimes for a GPU choose kernels by timing them, as some for the CPU do, and all of them share the GPU.
        """
        together = {run, *self._under_way.values()}
        if len(together) == 1:
            return True
        by_themselves = self._by_themselves | {
            each for each in together if each.planned.traits.picks_by_timing or each.planned.device != "cpu"
        }
        return len(together) <= self._spec.prepare_jobs and not together & by_themselves

    def add(self, run: ConversionRun, worker: WorkerHandle) -> None:
        """Take in one whose worker was started."""
        self._under_way[worker] = run

    def next_ones(self) -> tuple[list[ConversionRun], list[ConversionRun]]:
        """Wait until at least one is prepared or has ended.

        Returns:
            Those that are prepared or have ended, and those of which the process had too little memory beside the
            others: they are to be prepared again.
        """
        beside_others = len(self) > 1
        there = self._wait(list(self._under_way), lambda worker: worker.prepared, self._keep_memory_free)
        found, again = [], []
        for worker in there:
            run = self._under_way.pop(worker)
            if beside_others and not worker.running and self._lacked_memory(run, worker):
                self._by_themselves.add(run)
                again.append(run)
            else:
                found.append(run)
        return found, again

    def no_verdict(self, run: ConversionRun) -> bool:
        """Whether its process ended before it was ready, maybe only for want of memory beside others."""
        worker = run.worker
        return worker is not None and not worker.reports and self._lacked_memory(run, worker.handle)

    def _lacked_memory(self, run: ConversionRun, worker: WorkerHandle) -> bool:
        # The limit that a user has set holds beside others, too.
        return worker in self._made_room or (run.out_of_memory and self._spec.memory_limit_mb is None)

    def _keep_memory_free(self) -> None:
        preparing = [worker for worker in self._under_way if worker.running and not worker.prepared]
        if len(preparing) > 1 and self._free_memory_mb() < self._least_free_mb:
            largest = max(preparing, key=lambda worker: worker.memory_mb)
            self._made_room.add(largest)
            largest.end(FailureKind.OUT_OF_MEMORY, f"used {largest.memory_mb:.0f} MB when little was left for all")
