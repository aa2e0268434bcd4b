"""Figures put into words, the same in every document."""

from __future__ import annotations

from math import floor, log10
from typing import TYPE_CHECKING

from almaflow.stats import Interval, is_precise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    # Of a row, or the entry of one conversion in ``output=FILE.json``, which has them all.
    Metrics = Mapping[str, float | None]

BASELINES = ("eager", "inductor")
UNKNOWN = "-"

_WIDEST = 2.0
"""A range whose ends lie further apart than this factor says nothing, and is not shown."""
_SAME = 1e-6


def ratio(value: float, digits: int = 3) -> str:
    """Return a positive ratio with so many significant digits: ``2.05x``, ``0.0132x``; ``24x`` with two."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:.{max(0, digits - 1 - floor(log10(rounded)))}f}x"


def speedup(metrics: Metrics, baseline: str) -> str:
    """Return a speedup only as precisely as it is known.

    - ``4.05x``, ``4.1x``: sure, with as many digits as its interval allows.
    - ``4.1x~``: the ratio of the floors, or of too few rounds for an interval.
    - ``2.5-4.1x``: somewhere between, by the interval and the floors.
    - ``-``: not known.

    Args:
        metrics: The metrics of a conversion, also of an older almaflow.
        baseline: ``eager`` or ``inductor``; empty where the job has no such figure.
    """
    section = f"speedup/vs_{baseline}"
    value, low, high = (
        metrics.get(name) for name in (f"speedup_vs_{baseline}", f"{section}_ci_low", f"{section}_ci_high")
    )
    value = value if value is None or value > 0 else None  # of a clock too coarse for the calls
    stable, floors = metrics.get(f"{section}_stable"), metrics.get(f"speedup/floor_vs_{baseline}")
    interval = None if low is None or high is None else Interval(low, high)
    if value is None and stable is None:
        return ""
    if value is not None and (interval is None or is_precise(value, interval)) and stable != 0:
        # Three digits where the second one is worth more than half the interval's width, else two.
        width = interval.half_width if interval else float(value != 1)  # a baseline is as fast as itself
        exact = width < 10 ** (floor(log10(value)) - 1)
        return ratio(value, 3 if exact else 2)
    # An older almaflow gave the ratio of the rounds, however wide its interval.
    by_floors = value is not None and floors is not None and abs(value - floors) <= _SAME * floors
    if value is not None and (by_floors or interval is None):
        return f"{ratio(value, 2)}~"
    ends = [each for each in (low, high, floors) if each is not None]
    if interval is None or min(ends) <= 0 or max(ends) > _WIDEST * min(ends):
        return UNKNOWN
    return f"{ratio(min(ends), 2)[:-1]}-{ratio(max(ends), 2)}"


def beside(metrics: Metrics) -> str:
    """Return the speedups over both baselines as far as they are known: ``4.1x eager, 2.5x inductor``."""
    known = ((text, baseline) for baseline in BASELINES if (text := speedup(metrics, baseline)))
    return ", ".join(f"{text} {baseline}" for text, baseline in known if text != UNKNOWN)


def figure(value: float) -> str:
    """Return a time or a rate as text, to about four significant digits, without its unit."""
    for limit, digits in ((1000, 0), (100, 1), (1, 2), (0.01, 4)):
        if value >= limit:
            return f"{value:.{digits}f}"
    return f"{value:.2g}"


def names(several: Sequence[str]) -> str:
    """Join names: ``A``, ``A and B``, ``A, B and C``."""
    return " and ".join(filter(None, (", ".join(several[:-1]), *several[-1:])))


def doubts(metrics: Metrics) -> list[str]:
    """Tell what speaks against a latency; empty where nothing does."""
    return ["its latency is unsure"] if metrics.get("noise/stable") == 0 else []
