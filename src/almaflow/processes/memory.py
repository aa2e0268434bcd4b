"""The memory of a worker and of all that it has started, looked at while it runs."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from almaflow.machine.process_tree import descendants, share_mb

HELPERS_INTERVAL_S = 0.2
"""Least seconds between two looks at the helpers."""

NOT_THE_CONVERSION = ("start", "load", "check")
"""Phases whose memory is not the conversion's: the worker's own peak leaves them out too."""


@dataclass
class TreeMemory:
    """The memory of one worker's tree, in MB (10^6 bytes).

    The worker counts with what is resident of it, which takes the kernel no time to say. A helper counts with its
    share (PSS): helpers are often forks of each other, and their resident memory would count the same pages many
    times. The share takes time by the helper's size, a hundredth of a second per gigabyte, and only the helper waits.
    """

    pid: int
    own_mb: float = 0.0
    helpers_mb: float = 0.0
    peak_mb: float | None = None
    """The highest sum seen while there were helpers and the conversion was at work."""
    _known: frozenset[int] = field(default=frozenset(), init=False)
    _looked_at: float = field(default=0.0, init=False)

    @property
    def mb(self) -> float:
        """The memory of all together at the last look."""
        return self.own_mb + self.helpers_mb

    def look(self, phase: str) -> float:
        """Look at it, and give the sum; ``phase`` is the worker's."""
        with suppress(psutil.Error):
            self.own_mb = psutil.Process(self.pid).memory_info().rss / 1e6
        if time.monotonic() - self._looked_at >= HELPERS_INTERVAL_S:
            self._looked_at = time.monotonic()
            found = frozenset(descendants(self.pid))
            # One that was just forked has its parent's memory until it becomes another program.
            self.helpers_mb = sum(map(share_mb, found & self._known))
            self._known = found
            if self.helpers_mb and phase not in NOT_THE_CONVERSION:
                self.peak_mb = max(self.peak_mb or 0.0, self.mb)
        return self.mb
