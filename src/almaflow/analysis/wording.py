"""Figures put into words, the same in every document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.analysis.rows import tied
from almaflow.records.plan import EAGER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from almaflow.analysis.rows import Row

_PLAIN_FROM = 0.1
"""Ratios from this one on have two decimals; smaller ones have two significant digits, so as never to read 0.00x."""


def ratio(value: float) -> str:
    """Return a speedup as text: ``2.05x``, ``0.013x``."""
    return f"{value:.2f}x" if value >= _PLAIN_FROM else f"{value:.2g}x"


def figure(value: float) -> str:
    """Return a time or a rate as text, to about four significant digits, without its unit."""
    for limit, digits in ((1000, 0), (100, 1), (1, 2), (0.01, 4)):
        if value >= limit:
            return f"{value:.{digits}f}"
    return f"{value:.2g}"


def names(several: Sequence[str]) -> str:
    """Join names: ``A``, ``A and B``, ``A, B and C``."""
    return " and ".join(filter(None, (", ".join(several[:-1]), *several[-1:])))


def doubts(metrics: Mapping[str, float | None]) -> list[str]:
    """Tell what speaks against a latency and its speedup; empty where nothing does."""
    found = ["its measurement did not settle"] if metrics.get("noise/stable") == 0 else []
    return found + ["its speedup is in doubt"] * (metrics.get("speedup/vs_eager_stable") == 0)


def pace(row: Row, rows: Sequence[Row]) -> str:
    """Tell what keeps a row that counts from being called faster than eager; empty where it is faster."""
    speedup = row.metrics.get("speedup_vs_eager")
    if row.name == EAGER:
        return ""
    if speedup is None:
        return "eager gave no latency to compare with"
    eager = next((other for other in rows if other.name == EAGER and other.counts), None)
    if eager and tied(row, eager):
        return f"not told apart from eager ({ratio(speedup)})"
    return f"slower than eager ({ratio(speedup)})" if speedup < 1 else ""
