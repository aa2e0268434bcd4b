"""The job as one Markdown document: MLflow's description of the run, and ``summary.md``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.analysis.wording import figure, ratio
from almaflow.report import cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.analysis import Analysis, Row
    from almaflow.records import Job

MACHINE = ("cpu", "physical_cores", "memory_gb", "gpu", "driver", "cuda", "os", "python", "torch")
"""Keys of the environment that come first; the others follow in alphabetical order."""


def summary_markdown(job: Job, analysis: Analysis) -> str:
    """Write the table, the verdict, recommendations, failures with their reasons, and the machine."""
    parts = [f"# {_text(cells.title(job))}", _text(cells.interrupted(job)), _results(analysis)]
    parts += [_text(line) for line in (*cells.model_notes(job), *cells.legend(analysis), cells.drift(job))]
    parts += [f"**{_text(cells.best(analysis))}**", _text(cells.headroom(analysis))]
    if predicted := cells.predictions(analysis):
        parts += ["## Mean absolute prediction error", markdown_table(cells.PREDICTIONS, predicted)]
    if analysis.recommendations:
        parts.append("## Recommended")
        recommended = [
            (item.use, code(item.conversion), figure(item.latency_ms), _ratio(item.speedup_vs_eager), item.reason)
            for item in analysis.recommendations
        ]
        parts.append(markdown_table(("for", "conversion", "ms", "vs eager", "why"), recommended))
    for heading, rows in cells.failures(analysis).items():
        failed = [(code(row.name), cells.failure(row)) for row in rows]
        parts += [f"## {heading}", markdown_table(("conversion", "reason"), failed)]
    missing = [(reason, ", ".join(map(code, names))) for reason, names in cells.unavailable(analysis).items()]
    if missing:
        parts += ["## Cannot run here", markdown_table(("reason", "conversions"), missing)]
    keys = [key for key in MACHINE if key in job.environment]
    keys += sorted(set(job.environment) - set(keys))
    if keys:
        parts += ["## Machine", markdown_table(("what", "value"), [(key, job.environment[key]) for key in keys])]
    return "\n\n".join(filter(None, parts)) + "\n"


def _results(analysis: Analysis) -> str:
    rows = [row for row in analysis.rows if row.counts]
    header = [
        "conversion",
        "device",
        "dtype",
        "latency ms",
        "95% interval",
        "samples/s",
        "vs eager",
        "vs inductor",
        "fidelity",
    ]
    predicted = any("prediction_error_pct" in row.metrics for row in rows)
    if predicted:
        header.append("prediction error")

    def line(row: Row) -> list[str]:
        name = code(row.name) + (" (best)" if row is analysis.best else "")
        figures = [cells.latency(row.metrics), cells.interval(row.metrics), cells.throughput(row.metrics)]
        ratios = [cells.speedup(row.metrics, "eager"), cells.speedup(row.metrics, "inductor")]
        fidelity = " ".join(filter(None, cells.fidelity(row)))
        error = [cells.error(row.metrics)] if predicted else []
        return [name, cells.device(row), row.outcome.planned.dtype, *figures, *ratios, fidelity, *error]

    return markdown_table(header, [line(row) for row in rows]) if rows else ""


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose cells are escaped, so that they are shown as they are."""
    lines = [header, ["---"] * len(header), *([_text(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cell)} |" for cell in lines)


def _text(text: str) -> str:
    """Escape what would end a cell, open a tag or strike text out."""
    flat = " ".join(text.split())
    for sign in ("\\", "|", "<", "~"):
        flat = flat.replace(sign, f"\\{sign}")
    return flat


def code(name: str) -> str:
    """Return a name set as code."""
    return f"`{name}`"


def _ratio(value: float | None) -> str:
    return "" if value is None else ratio(value)
