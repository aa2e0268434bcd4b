"""Models by machines, in cells that the terminal, Markdown and HTML share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.analysis.wording import figure
from almaflow.report import cells as texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.analysis.machines import MachineRow

HEADINGS = ("model", "machine", "best", "ms", "predicted", "error", "USD per million", "")
LEFT = 3
"""The first columns are words, the others figures."""
MATTER_OF_FACT = "The fastest conversion on each machine; predicted is what the job's predictor said of it."


def machine_cells(row: MachineRow) -> tuple[str, ...]:
    """Return a row of the table under ``HEADINGS``; what is not known is empty."""
    predicted = row.figures.get("predicted_latency_ms")
    marks = [mark for mark, holds in (("fastest", row.is_fastest), ("cheapest", row.is_cheapest)) if holds]
    return (
        row.workload,
        row.machine,
        row.best,
        texts.latency(row.figures),
        "" if predicted is None else figure(predicted),
        texts.error(row.figures),
        "" if row.usd_per_million is None else f"{row.usd_per_million:.3g}",
        ", ".join(marks),
    )


def columns(rows: Sequence[MachineRow]) -> list[int]:
    """Return the columns that have something in them."""
    lines = [machine_cells(row) for row in rows]
    return [number for number in range(len(HEADINGS)) if any(line[number] for line in lines)]
