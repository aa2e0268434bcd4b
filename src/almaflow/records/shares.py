"""Words for the shares that records hold, the same in a worker's notes and in the parent's reports."""

from __future__ import annotations

import math


def percent(share: float) -> str:
    """Write a share in percent, so that a little is not nothing and nearly all is not all: ``0.02%``, ``99.9%``."""
    if share < 0.1:  # noqa: PLR2004
        return f"{100 * share:.2g}%"
    return f"{math.floor(1000 * share) / 10:g}%" if 0.99 < share < 1 else f"{share:.0%}"  # noqa: PLR2004
