"""Figures of a conversion at sizes other than the example's: their metrics, and the table of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from almaflow.analysis.wording import figure
from almaflow.records import BATCH, size_label
from almaflow.stats import summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from almaflow.records import Measurement, SizeMeasurement

_LATENCY = re.compile(r"size/([^/]+)/latency_ms")


def size_metrics(measured: Measurement) -> dict[str, float | None]:
    """Return latency, floor, throughput and fidelity at each further size that was timed."""
    metrics: dict[str, float | None] = {}
    for each in measured.sizes:
        timed, section = summary(each.samples_ms), f"size/{size_label(each.size)}"
        metrics |= {
            f"{section}/latency_ms": timed.median,
            f"{section}/floor_ms": timed.floor,
            f"{section}/throughput": throughput_of(each, measured.batch_size),
            f"{section}/sqnr_db": each.sqnr_db,
            f"{section}/max_abs_diff": each.max_abs_diff,
            f"{section}/recompiles": each.recompiles,
        }
    return metrics


def throughput_of(timed: SizeMeasurement, batch_size: int) -> float | None:
    """Return samples per second at one size; None where the clock is too coarse for a call.

    Args:
        timed: The measurement at that size.
        batch_size: The example's batch, for a size that keeps it.
    """
    samples = len(timed.samples_ms) * timed.size.get(BATCH, batch_size)
    seconds = sum(timed.samples_ms) / 1000 if timed.wall_s is None else timed.wall_s
    return samples / seconds if seconds > 0 else None


def size_table(several: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the header and the rows of latencies in ms by size; both are empty where nothing was timed at others.

    Args:
        several: Conversions by their names, each with its metrics.
    """
    timed = [(name, metrics) for name, metrics in several if any(map(_LATENCY.fullmatch, metrics))]
    keys = list(dict.fromkeys(key for _, metrics in timed for key in metrics if _LATENCY.fullmatch(key)))
    if not keys:
        return (), []
    rows = [(name, *(_cell(metrics, key) for key in keys)) for name, metrics in timed]
    return ("ms at", *map(_heading, keys)), rows


def _heading(key: str) -> str:
    label = key.split("/")[1]
    return f"{BATCH} {label}" if label.isdecimal() else label.replace("-", " ").replace("_", ", ")


def _cell(metrics: Mapping[str, Any], key: str) -> str:
    value = metrics.get(key)
    anew = metrics.get(key.replace("latency_ms", "recompiles"))
    return "" if value is None else figure(value) + (" (compiled anew)" if anew else "")
