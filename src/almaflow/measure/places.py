"""The conversions whose processes are alive, by what they wait for, and whether there is a place for another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.measure.preparing import Preparing
from almaflow.records.plan import EAGER, INDUCTOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.measure.conversion_run import ConversionRun
    from almaflow.measure.preparing import Wait
    from almaflow.records import MeasureSpec

ANCHORS = (EAGER, INDUCTOR)

LEAST_FREE_MEMORY = 0.5
"""Share of the memory that was free at the start. With less than that, those that wait are measured and ended before
another one starts, so that a conversion's memory limit does not depend much on how many wait beside it."""


class Places:
    """The places of a job, of which ``measure.interleave`` says how many there are.

    Args:
        spec: The settings.
        free_memory_mb: Returns the memory that processes can still get, in MB (10^6 bytes).
        wait: Waits for one of several workers, as ``wait_for_any`` does.
    """

    def __init__(self, spec: MeasureSpec, free_memory_mb: Callable[[], float], wait: Wait) -> None:
        self._spec, self._free_memory_mb = spec, free_memory_mb
        self._least_free_mb = LEAST_FREE_MEMORY * free_memory_mb()
        self.preparing = Preparing(spec, free_memory_mb, wait)
        self.prepared: list[ConversionRun] = []
        """Those that are to warm up when nobody is prepared any more."""
        self.waiting: list[ConversionRun] = []
        """Those that are warm, and wait for their turns."""
        self.anchors: list[ConversionRun] = []
        """Those that the others are compared with; they take turns to the end."""

    @property
    def full(self) -> bool:
        """Whether no further one may wait, by number or by memory."""
        alive = len(self.preparing) + len(self.prepared) + len(self.waiting) + len(self.anchors)
        return alive >= self._spec.interleave or self._free_memory_mb() < self._least_free_mb

    def may_start(self, run: ConversionRun) -> bool:
        """Whether another one may be prepared now, beside those that are."""
        if self._spec.prepare_jobs == 1 and self.prepared:
            return False  # it can warm up first, as there is nobody to wait for
        some = len(self.preparing) or self.waiting or not all(map(self._is_anchor, self.prepared))
        return self.preparing.has_room_for(run) and not (some and self.full)

    def add_warm(self, run: ConversionRun) -> None:
        """Take in one that is warm and has taken its first round."""
        (self.anchors if self._is_anchor(run) else self.waiting).append(run)

    def _is_anchor(self, run: ConversionRun) -> bool:
        return run.planned.name in ANCHORS and self._spec.interleave > 1
