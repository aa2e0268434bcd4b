"""The mark ``~`` at a latency or a speedup: where it stands, and what it says beside a measurement that was cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.stats import WIDE, Interval, is_wide

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Metrics = Mapping[str, float | None]

WIDE_MEDIAN = f"~ unstable: the 95% interval of the latency spans more than a factor of {WIDE:g}"
WIDE_SPEEDUP = f"~ at a speedup: its 95% interval spans more than a factor of {WIDE:g}"
CONTRADICTED = (
    "~ at a speedup: rounds taken next to each other give another ratio than the two medians, since one of the two "
    "changed its speed meanwhile"
)


def is_unstable(metrics: Metrics) -> bool:
    """Whether the conversion was timed and its measurement did not settle."""
    return metrics.get("noise/stable") == 0


def is_doubtful(metrics: Metrics, baseline: str) -> bool:
    """Whether the speedup over ``eager`` or ``inductor`` has a wide interval, or contradicts the two medians."""
    return metrics.get(f"speedup/vs_{baseline}_stable") == 0


def marks_explained(shown: Iterable[Metrics]) -> list[str]:
    """Explain the marks that these conversions have for the width of an interval, or for a contradiction."""
    found = set()
    for metrics in shown:
        if is_unstable(metrics) and _is_wide(metrics, "latency/"):
            found.add(WIDE_MEDIAN)
        for baseline in ("eager", "inductor"):
            if is_doubtful(metrics, baseline):
                found.add(WIDE_SPEEDUP if _is_wide(metrics, f"speedup/vs_{baseline}_") else CONTRADICTED)
    return [each for each in (WIDE_MEDIAN, WIDE_SPEEDUP, CONTRADICTED) if each in found]


def _is_wide(metrics: Metrics, section: str) -> bool:
    low, high = metrics.get(f"{section}ci_low"), metrics.get(f"{section}ci_high")
    return low is not None and high is not None and is_wide(Interval(low, high))
