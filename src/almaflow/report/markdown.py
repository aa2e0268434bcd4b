"""The job as one Markdown document: MLflow's description of the run, and ``summary.md``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from almaflow.analysis.batch_search import search_table, searched
from almaflow.analysis.output import to_output
from almaflow.analysis.sizes import size_table
from almaflow.analysis.wording import UNKNOWN, figure
from almaflow.report import cells
from almaflow.report.choice import ON_THE_FRONT, chosen, reasons
from almaflow.report.configuration import configuration
from almaflow.secrets import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.analysis import Analysis, Row
    from almaflow.records import Job

_SIGNS = re.compile(r"[\\`|<~\[\]*]|(?<!\w)_|_(?!\w)|:(?=//)")
"""The signs of inline Markdown; an address is not made a link of, either."""
_BLOCK = re.compile(r"^(\d*)([#>+=.)-])(?=[\s#=-]|$)")
"""The beginning of a heading, a quotation or a list."""
_NOT_IN_CODE = str.maketrans({"`": "'", "|": "/"})

MACHINE = ("cpu", "physical_cores", "memory_gb", "gpu", "driver", "cuda", "os", "python", "torch")
"""Keys of the environment that come first; the others follow in alphabetical order."""


def summary_markdown(job: Job, analysis: Analysis) -> str:
    """Write the verdict, the table, recommendations, failures with their reasons, and the machine.

    The verdict comes first, without a heading above it: MLflow folds a description to its first lines.
    """
    parts = [f"**{escaped(cells.best(analysis))}**", _choice(analysis), escaped(cells.headroom(analysis))]
    parts += [escaped(cells.interrupted(job)), _results(analysis), _sizes(analysis)]
    parts += [escaped(each) for each in (*cells.model_notes(job), *cells.legend(analysis), *analysis.warnings)]
    if predicted := cells.predictions(analysis):
        parts += ["## Mean absolute prediction error", markdown_table(cells.PREDICTIONS, predicted)]
    if analysis.recommendations:
        parts.append("## Recommended")
        recommended = [
            (item.use, code(item.conversion), figure(item.latency_ms), item.vs_eager, item.reason)
            for item in analysis.recommendations
        ]
        parts.append(markdown_table(("for", "conversion", "ms", "vs eager", "why"), recommended))
    for heading, rows in cells.failures(analysis).items():
        failed = [(code(row.name), cells.failure(row)) for row in rows]
        parts += [f"## {heading}", markdown_table(("conversion", "reason"), failed)]
    missing = [(reason, Markdown(", ".join(map(code, names)))) for reason, names in cells.unavailable(analysis).items()]
    if missing:
        parts += ["## Cannot run here", markdown_table(("reason", "conversions"), missing)]
    if settings := configuration(to_output(job, analysis)):
        parts += [
            "## Configuration",
            markdown_table(("setting", "asked for", "as the libraries reported it"), settings),
        ]
    keys = [key for key in MACHINE if key in job.environment]
    keys += sorted(set(job.environment) - set(keys))
    if keys:
        parts += ["## Machine", markdown_table(("what", "value"), [(key, job.environment[key]) for key in keys])]
    return "\n\n".join(filter(None, parts)) + "\n"


def line(row: Row) -> str:
    """Tell the result of one conversion in a line: latency, speedup, fidelity and quality, or why there are none."""
    if row.outcome.planned.unavailable:
        return escaped(f"cannot run here: {cells.first_line(row.message)}")
    if not row.counts:
        return escaped(cells.failure(row))
    speedup = cells.speedup(row.metrics, "eager")
    figures = (
        f"{cells.latency(row.metrics)} ms",
        f"{speedup} eager" if speedup not in {"", UNKNOWN} else "",
        " ".join(cells.fidelity(row)).strip(),
        " ".join(filter(None, (cells.quality_name([row.metrics]), cells.quality(row.metrics, row.lower_is_better)))),
        f"not recommended: {row.too_low}" if row.too_low else "",
    )
    return escaped(", ".join(filter(None, figures)))


def _choice(analysis: Analysis) -> str:
    """Tell what was chosen under limits, and what each other conversion failed by; empty without limits."""
    if analysis.choice is None:
        return ""
    failed_by = [(code(name), reason) for name, reason in reasons(analysis.choice)]
    table = markdown_table(("does not fit", "why"), failed_by) if failed_by else ""
    return "\n\n".join(filter(None, (f"**{escaped(chosen(analysis.choice))}**", table)))


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
    evaluated = cells.quality_name(row.metrics for row in rows)
    if evaluated:
        header.append(evaluated)
    predicted = any("prediction_error_pct" in row.metrics for row in rows)
    if predicted:
        header.append("prediction error")

    def cells_of(row: Row) -> list[str]:
        best, front = row is analysis.best, row.name in analysis.pareto
        name = Markdown(code(row.name) + (" (best)" if best else "") + (f" {escaped(ON_THE_FRONT)}" if front else ""))
        figures = [cells.latency(row.metrics), cells.interval(row.metrics), cells.throughput(row.metrics)]
        ratios = [cells.speedup(row.metrics, "eager"), cells.speedup(row.metrics, "inductor")]
        fidelity = " ".join(filter(None, cells.fidelity(row)))
        quality = [cells.quality(row.metrics, row.lower_is_better)] if evaluated else []
        error = [cells.error(row.metrics)] if predicted else []
        return [name, cells.device(row), row.outcome.planned.dtype, *figures, *ratios, fidelity, *quality, *error]

    return markdown_table(header, [cells_of(row) for row in rows]) if rows else ""


def _sizes(analysis: Analysis) -> str:
    timed = [row for row in analysis.rows if row.counts]
    found = size_table((row.name, row.metrics) for row in timed)
    searches = search_table((row.name, searched(row.outcome.measurement)) for row in timed)
    tables = [
        markdown_table(header, [(code(row[0]), *row[1:]) for row in rows]) for header, rows in (found, searches) if rows
    ]
    return "\n\n".join(tables)


class Markdown(str):
    """A text that is Markdown already, and is not escaped again."""

    __slots__ = ()


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose cells are escaped, so that they are shown as they are."""
    lines = [list(map(_inline, header)), ["---"] * len(header), *(list(map(_inline, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(cell)} |" for cell in lines)


def escaped(text: str) -> str:
    """Escape a line, so that it is shown as it is: no tag, link, picture, emphasis, heading or list comes of it."""
    return _BLOCK.sub(r"\1\\\2", _inline(text))


def _inline(text: str) -> str:
    if isinstance(text, Markdown):
        return text
    return _SIGNS.sub(r"\\\g<0>", " ".join(printable(text).split()))


def code(name: str) -> Markdown:
    """Return a name set as code, with its own backquotes and bars replaced, which would end it."""
    return Markdown(f"`{' '.join(printable(name).translate(_NOT_IN_CODE).split())}`")
