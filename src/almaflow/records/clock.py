"""The clock that records are stamped by: the time of day, which within a process never runs backwards."""

from __future__ import annotations

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # the first one also runs while the machine is suspended
_EPOCH_S = time.time() - time.clock_gettime(_CLOCK)
"""Seconds since the epoch at this clock's zero, as the time of day was when the process started."""


def now() -> float:
    """Return the seconds since the epoch, from a clock that nobody sets: differences are durations."""
    return _EPOCH_S + time.clock_gettime(_CLOCK)
