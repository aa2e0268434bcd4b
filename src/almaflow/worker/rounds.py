"""Takes the rounds of a worker when the parent asks for them, and keeps their samples."""

from __future__ import annotations

import gc
import time
from statistics import median
from typing import TYPE_CHECKING

from almaflow.records import Round
from almaflow.records.protocol import RoundReport
from almaflow.worker.control_workload import control_workload_ms
from almaflow.worker.device import device_times_ms
from almaflow.worker.streams import take_concurrently
from almaflow.worker.threads import threads_per_stream
from almaflow.worker.timing import nothing, refill, take, warm_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.records import WorkerTask
    from almaflow.records.protocol import EventWriter, RoundRequest

DEVICE_CALLS = 20
"""Most further calls of a round that are timed by CUDA events. They come after those timed by the wall clock: an
event is work for the device too, and would slow down a short call."""


class Rounds:
    """The rounds of one forward call in this process, which begin with its warm-up."""

    def __init__(
        self,
        call: Callable[[int], object],
        synchronize: Callable[[], None],
        task: WorkerTask,
        events: EventWriter,
        prepare: Callable[[int], None] = nothing,
    ) -> None:
        self.samples_ms: list[float] = []
        self.device_samples_ms: list[float] = []
        self.rounds: list[Round] = []
        self._call = call
        self._synchronize = synchronize
        self._prepare = prepare
        self._task = task
        self._device = task.conversion.device if task.conversion else task.hardware.device
        self._events = events
        events.enter("warm-up")
        began = time.perf_counter()
        self.warmup_calls = warm_up(call, synchronize, task.measure, prepare)
        self.busy_s = time.perf_counter() - began
        """Seconds spent on warm-up and rounds so far, without waiting for turns."""
        self._last_s = self.busy_s / max(self.warmup_calls, 1)
        # What loading and compiling left stays: else the collection before each round takes tens of milliseconds.
        gc.collect()
        gc.freeze()

    def take(self, turn: RoundRequest) -> RoundReport:
        """Take one round: the control workload, untimed calls, the timed ones."""
        self._events.enter("measure")
        began = time.perf_counter()
        control_ms = control_workload_ms(self._device)
        refill(self._call, self._synchronize, self._last_s, self._prepare)
        started_at = time.time()
        streams = self._task.measure.streams
        if streams > 1:
            threads = threads_per_stream(self._task)
            taken = take_concurrently(self._call, self._synchronize, turn, streams, threads, self._prepare)
        else:
            taken = take(self._call, self._synchronize, turn, len(self.samples_ms), self._prepare)
        if self._device == "cuda":
            calls = min(len(taken.samples_ms), DEVICE_CALLS)
            self.device_samples_ms += device_times_ms(self._call, calls, self._prepare)
        self.samples_ms += taken.samples_ms
        self._last_s = taken.samples_ms[-1] / 1000
        self.rounds.append(
            Round(
                replicate=self._task.replicate,
                index=turn.index,
                count=len(taken.samples_ms),
                started_at=started_at,
                wall_s=taken.wall_s,
                cpu_s=taken.cpu_s,
                control_ms=control_ms,
            )
        )
        self.busy_s += time.perf_counter() - began
        return RoundReport(len(taken.samples_ms), median(taken.samples_ms), taken.wall_s)
