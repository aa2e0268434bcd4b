"""What a search for a batch size found for a conversion: its metrics, its entry in the output, and the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from almaflow.analysis.sizes import throughput_of
from almaflow.analysis.wording import figure
from almaflow.records import BATCH
from almaflow.stats import summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from almaflow.records import Measurement

WHY = "why no larger one"
HEADER = ("batch search", "batch", "ms", "samples/s", WHY)
"""The columns of the table."""


def searched(measured: Measurement | None) -> dict[str, Any] | None:
    """Return the answer, why it is no larger batch, and each one that was tried; None where nothing was searched."""
    if measured is None or measured.search is None:
        return None
    tried = [
        {
            "batch": each.size[BATCH],
            "latency_ms": summary(each.samples_ms).median,
            "floor_ms": summary(each.samples_ms).floor,
            "throughput": throughput_of(each, measured.batch_size),
        }
        for each in measured.search.tried
    ]
    return {"batch": measured.search.batch, "reason": measured.search.reason, "tried": tried}


def search_metrics(measured: Measurement) -> dict[str, float | None]:
    """Return the batch that was found, with its throughput and its latency."""
    found = searched(measured)
    answer = next((each for each in found["tried"] if each["batch"] == found["batch"]), None) if found else None
    if answer is None:
        return {}
    return {
        "batch_search/size": answer["batch"],
        "batch_search/throughput": answer["throughput"],
        "batch_search/latency_ms": answer["latency_ms"],
    }


def search_told(measured: Measurement) -> str | None:
    """Tell the answer and its reason in one line; None where nothing was searched."""
    return f"{measured.search.batch or 'none'}: {measured.search.reason}" if measured.search else None


def search_table(
    several: Iterable[tuple[str, Mapping[str, Any] | None]],
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the header and a row for each conversion; both are empty where nothing was searched.

    Args:
        several: Conversions by their names, each with what ``searched`` returns.
    """
    rows = [(name, *_cells(found)) for name, found in several if found]
    return (HEADER, rows) if rows else ((), [])


def _cells(found: Mapping[str, Any]) -> tuple[str, ...]:
    answer = next((each for each in found["tried"] if each["batch"] == found["batch"]), None)
    if answer is None:
        return "none", "", "", found["reason"]
    rate = answer["throughput"]
    return str(answer["batch"]), figure(answer["latency_ms"]), "" if rate is None else figure(rate), found["reason"]
