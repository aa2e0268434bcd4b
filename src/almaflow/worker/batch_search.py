"""Times a conversion at growing batch sizes, for the search of the one at which its throughput stops growing."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psutil
import torch

from almaflow.models.batches import copied
from almaflow.models.dynamic import axes_of, present_sizes, resized
from almaflow.models.examine import answer_of
from almaflow.records import BATCH, BatchSearchResult, SizeMeasurement
from almaflow.stats import PERCENTILE_SAMPLES, FoundBatch, Trial, exceeds, search_batch, summary
from almaflow.worker import device as devices
from almaflow.worker.error_text import described
from almaflow.worker.failures import WrongOutputError
from almaflow.worker.sizes import checker_at, rounds_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from almaflow.conversions.converted import ConvertedModel
    from almaflow.models.batches import Batch
    from almaflow.records import BatchSearch
    from almaflow.records.protocol import EventWriter
    from almaflow.worker.check import Checker

BUDGET = 10
"""A search takes no further size after so many times ``measure.max_time_s``."""
ROOM = 0.7
"""Share of the free memory that a larger batch may take, as far as the last one tells."""
CLOSE = 0.1
"""Share by which a latency is above its limit up to which it is timed once more."""


def found_batch(
    search: BatchSearch,
    checker: Checker,
    converted: ConvertedModel,
    synchronize: Callable[[], None],
    events: EventWriter,
) -> BatchSearchResult:
    """Search, and compare the outputs at the size that was found with eager's.

    Raises:
        WrongOutputError: they are wrong there.
    """
    sizes = _Sizes(search, checker, converted, synchronize, events)
    with converted.not_counted():
        found = search_batch(sizes.measure, search.low, search.high)
        if found.batch is not None and (doubt := sizes.doubt(found.batch)):
            found = FoundBatch(None, doubt)
    return BatchSearchResult(found.batch, found.reason, tuple(sizes.tried()))


class _Sizes:
    def __init__(
        self,
        search: BatchSearch,
        checker: Checker,
        converted: ConvertedModel,
        synchronize: Callable[[], None],
        events: EventWriter,
    ) -> None:
        self._search, self._checker, self._converted = search, checker, converted
        self._synchronize, self._events = synchronize, events
        reference, self._task = checker.reference, checker.task
        self._axes = axes_of(self._task.model, reference.call_form.names, reference.batches[0])
        self._present = present_sizes(self._axes, reference.batches[0])
        self._timed: dict[int, SizeMeasurement] = {}
        self._ends = time.perf_counter() + BUDGET * self._task.measure.max_time_s
        self._mb_before = devices.resident_mb()
        percents = [name.removeprefix("latency/p") for name in search.max_ms if name.startswith("latency/p")]
        self._least_samples = max((PERCENTILE_SAMPLES[int(percent)] for percent in percents), default=0)

    def tried(self) -> Iterator[SizeMeasurement]:
        """Return what was timed, the smallest batch first."""
        return (self._timed[batch] for batch in sorted(self._timed))

    def measure(self, batch: int) -> Trial:
        """Time a batch size; what cannot be run, or would take too much, does not fit."""
        if reason := self._no_time(batch) or self._no_memory(batch):
            return self._trial(batch) if batch in self._timed else Trial(batch, math.inf, reason)
        try:
            self._take(batch)
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises for a size that it does not take
            return Trial(batch, math.inf, described(error))
        finally:
            self._free()
        return self._trial(batch)

    def _trial(self, batch: int) -> Trial:
        timed = summary(self._timed[batch].samples_ms)
        over, close = self._over({"latency_ms": timed.median} | {f"latency/{k}": v for k, v in vars(timed).items()})
        return Trial(batch, timed.floor, over, close)

    def _take(self, batch: int) -> None:
        checker = self._checker_at(batch, self._batch(batch), [])
        rounds = rounds_at(checker, self._converted, self._synchronize, self._events, self._wants_more)
        wall_s = sum(each.wall_s for each in rounds.rounds) if self._task.measure.streams > 1 else None
        before = self._timed.get(batch)
        self._timed[batch] = SizeMeasurement(
            size={**self._present, BATCH: batch},
            samples_ms=(*(before.samples_ms if before else ()), *rounds.samples_ms),
            wall_s=None if wall_s is None else wall_s + ((before.wall_s or 0.0) if before else 0.0),
        )

    def _wants_more(self, samples: int) -> bool:
        """Whether a percentile needs further calls, for which there is time."""
        return samples < self._least_samples and time.perf_counter() <= self._ends

    def _batch(self, batch: int) -> Batch:
        return resized(self._checker.reference.batches, self._axes, {**self._present, BATCH: batch})

    def _checker_at(self, batch: int, inputs: Batch, answer: Any) -> Checker:
        return checker_at(self._checker, {**self._present, BATCH: batch}, inputs, answer)

    def _over(self, figures: dict[str, Any]) -> tuple[str | None, bool]:
        """Return the first limit that is broken, and whether all that are broken are nearly kept."""
        if unknown := [name for name in self._search.max_ms if figures[name] is None]:
            return f"no time left for the {self._least_samples} calls that {unknown[0]} needs", False
        broken = {
            name: (figures[name], most) for name, most in self._search.max_ms.items() if exceeds(figures[name], most)
        }
        texts = [f"{name} {value:.4g} > {most:g}" for name, (value, most) in broken.items()]
        return (texts[0] if texts else None), all(value <= (1 + CLOSE) * most for value, most in broken.values())

    def _no_time(self, batch: int) -> str | None:
        measure = self._task.measure
        if time.perf_counter() > self._ends:
            return f"no time left: the search has taken {BUDGET} times measure.max_time_s={measure.max_time_s:g}"
        if batch in self._timed or not self._timed:
            return None
        nearest = max((each for each in self._timed if each < batch), default=min(self._timed))
        expected_ms = summary(self._timed[nearest].samples_ms).floor * batch / nearest
        if expected_ms > 1000 * measure.max_time_s:
            return f"a call would take {expected_ms / 1000:.1f} s, more than measure.max_time_s={measure.max_time_s:g}"
        return None

    def _no_memory(self, batch: int) -> str | None:
        """Tell why a larger batch is not tried: were the memory all gone, what was measured would be lost."""
        largest, peak_mb = max(self._timed, default=0), devices.peak_mb()
        if batch <= largest or not largest or peak_mb is None:
            return None
        resident_mb = devices.resident_mb()
        needed_mb = max(0.0, peak_mb - self._mb_before) * batch / largest - max(0.0, resident_mb - self._mb_before)
        free_mb = psutil.virtual_memory().available / 1e6
        if limit_mb := self._task.measure.memory_limit_mb:
            free_mb = min(free_mb, limit_mb - resident_mb)
        if needed_mb > ROOM * free_mb:
            return f"it would take about {needed_mb:.0f} MB of the {free_mb:.0f} MB that are free"
        return None

    @staticmethod
    def _free() -> None:
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()

    def doubt(self, batch: int) -> str | None:
        """Compare the outputs at a size with eager's there, and tell why they cannot be compared; None where they can.

        Raises:
            WrongOutputError: they are wrong.
        """
        if self._checker.load is None:
            return None
        inputs, device = self._batch(batch), self._task.hardware.device
        try:
            eager = self._checker.load().to(device)
            with torch.no_grad():
                answer = answer_of(eager(*copied(tuple(tensor.to(device) for tensor in inputs))))
        except Exception as error:  # noqa: BLE001 - as where there is no memory for two models
            return f"{batch} could not be compared with eager: {described(error)}"
        checker = self._checker_at(batch, inputs, answer)
        checker = replace(checker, reference=replace(checker.reference, sequence=[]))
        found = checker.judged(self._converted.call)
        if not found.ok:
            message = f"right at the size of the example, and wrong at batch {batch}: {found.reason}"
            raise WrongOutputError(message)
        return None
