"""The memory of a worker and of all that it has started, looked at while it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from almaflow.machine.process_tree import descendants, resident_mb, share_mb
from almaflow.records.protocol import EVALUATE, KEEPING, SHOWING

HELPERS_INTERVAL_S = 0.2
"""Least seconds between two looks at the helpers."""

GROWN = 1.02
"""Growth of the helpers' resident memory from which on their share is asked for again."""

NOT_THE_CONVERSION = ("start", "load", "check", KEEPING, EVALUATE, SHOWING)
"""Phases whose memory is not the conversion's: the worker's own peak leaves them out too."""


@dataclass
class TreeMemory:
    """The memory of one worker's tree, in MB (10^6 bytes).

    The worker counts with what is resident of it. A helper counts with its share (PSS): helpers are often forks of each
    other, and their resident memory would count the same pages many times. The share takes time to find out, so it is
    only asked for where the resident memory, which is never less, is higher than before or over the limit.
    """

    pid: int
    limit_mb: float
    own_mb: float = field(default=0.0, init=False)
    helpers_mb: float = field(default=0.0, init=False)
    peak_mb: float | None = field(default=None, init=False)
    """The highest sum seen while there were helpers and the conversion was at work."""
    _known: frozenset[int] = field(default=frozenset(), init=False)
    _resident_mb: float = field(default=0.0, init=False)
    """The highest resident memory of the helpers whose share was asked for."""
    _looked_at: float = field(default=0.0, init=False)

    @property
    def mb(self) -> float:
        """The memory of all together at the last look."""
        return self.own_mb + self.helpers_mb

    def over_limit(self, phase: str) -> bool:
        """Look at it, and say whether it is over the limit; ``phase`` is the worker's."""
        self.own_mb = resident_mb(self.pid) or self.own_mb
        if time.monotonic() - self._looked_at >= HELPERS_INTERVAL_S:
            self._looked_at = time.monotonic()
            found = frozenset(descendants(self.pid))
            # One that was just forked has its parent's memory until it becomes another program.
            self._look_at_helpers(found & self._known)
            self._known = found
            if self.helpers_mb and phase not in NOT_THE_CONVERSION:
                self.peak_mb = max(self.peak_mb or 0.0, self.mb)
        return self.mb > self.limit_mb

    def _look_at_helpers(self, helpers: frozenset[int]) -> None:
        resident = sum(map(resident_mb, helpers))
        if resident > GROWN * self._resident_mb or self.own_mb + resident > self.limit_mb:
            self._resident_mb = max(resident, self._resident_mb)
            self.helpers_mb = sum(map(share_mb, helpers))
        else:
            self.helpers_mb = min(self.helpers_mb, resident)
