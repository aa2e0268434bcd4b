"""The mark ``~`` at a latency or a speedup, ranges and dashes: what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.analysis.wording import BASELINES, UNKNOWN, speedup
from almaflow.stats import SURE, UNSURE_FROM

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Metrics = Mapping[str, float | None]

MARK = "~"
LATENCY = (
    f"~ at a latency: its 95% interval is wider than ±{UNSURE_FROM:.0%}, or measure.max_time_s ended before enough "
    "calls or the precision that was asked for"
)
FLOORS = (
    "~ at a speedup: its rounds were disturbed or too few, so it is the ratio of the fastest calls of both, which "
    "are disturbed least"
)
RANGES = (
    "a range, or -, at a speedup: not known more precisely, since its 95% interval is wider than a factor of "
    f"{SURE:g} either way"
)


def is_unstable(metrics: Metrics) -> bool:
    """Whether the conversion was timed and its median is unsure."""
    return metrics.get("noise/stable") == 0


def marks_explained(shown: Iterable[Metrics]) -> list[str]:
    """Explain the marks, ranges and dashes that these conversions have."""
    found = set()
    for metrics in shown:
        if is_unstable(metrics):
            found.add(LATENCY)
        for text in filter(None, (speedup(metrics, baseline) for baseline in BASELINES)):
            if text.endswith(MARK):
                found.add(FLOORS)
            elif UNKNOWN in text:
                found.add(RANGES)
    return [each for each in (LATENCY, FLOORS, RANGES) if each in found]
