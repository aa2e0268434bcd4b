"""The verdict of a gate as lines on the terminal, as Markdown for a pull request's comment, and as data."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from almaflow.analysis.compare import ABSOLUTE
from almaflow.analysis.gate import FAILED, NOISE, PASSED, UNKNOWN, undecided
from almaflow.report.markdown import code, escaped, markdown_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.analysis.gate import Judged

ORDER = (FAILED, UNKNOWN, NOISE, PASSED)


def headline(judged: Sequence[Judged]) -> str:
    """Tell whether the gate lets the change pass, and how many verdicts there are of each kind."""
    counts = {verdict: sum(each.verdict == verdict for each in judged) for verdict in ORDER}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    verdict = FAILED if counts[FAILED] else "without a verdict" if undecided(judged) else PASSED
    return f"Gate {verdict}: {told}"


def gate_lines(judged: Sequence[Judged]) -> list[str]:
    """Return the headline, and a line for each verdict that is not just passed."""
    lines = [headline(judged)]
    for each in _ordered(judged):
        if each.verdict != PASSED:
            known = each.metric and each.before is not None and each.after is not None
            figures = f" {_figure(each.before)} to {_figure(each.after)}, {_worse(each)}" if known else ""
            lines.append(f"{each.verdict}: {' '.join(filter(None, (workload_text(each.workload), each.metric)))}"
                         f"{figures}: {each.why}")  # fmt: skip
    return lines


def gate_markdown(judged: Sequence[Judged], before: str, after: str, details: str) -> str:
    """Return the verdict and a table of all metrics, the failed ones first, with further Markdown folded below.

    Args:
        judged: The verdicts.
        before: The name of the results before the change.
        after: The name of those after it.
        details: What the comment has to unfold.
    """
    rows = [
        (
            code(workload_text(each.workload)),
            code(each.metric) if each.metric else "",
            _figure(each.before),
            _figure(each.after),
            _worse(each),
            "" if each.limit is None else f"{each.limit:g}{_unit(each.metric)}",
            each.verdict if each.verdict == PASSED else f"{each.verdict}: {each.why}",
        )
        for each in _ordered(judged)
    ]
    table = markdown_table(("conversion", "metric", "before", "after", "change", "limit", "verdict"), rows)
    folded = f"<details><summary>All figures: {code(before)} and {code(after)}</summary>\n\n{details}\n</details>"
    return f"**{escaped(headline(judged))}**\n\n{table}\n\n{folded}\n"


def gate_data(judged: Sequence[Judged]) -> dict[str, Any]:
    """Return the verdicts as plain data for JSON, without infinities."""
    entries = [
        {
            name: None if isinstance(value, float) and math.isinf(value) else value
            for name, value in asdict(each).items()
        }
        for each in judged
    ]
    return {"failed": any(each.verdict == FAILED for each in judged), "judged": entries}


def workload_text(workload: tuple[str, str, str]) -> str:
    """Name a model, a batch size and a conversion: ``resnet18 b1 ONNX_CPU``."""
    model, batch_size, conversion = workload
    return " ".join(filter(None, (model, batch_size and f"b{batch_size}", conversion)))


def _ordered(judged: Sequence[Judged]) -> list[Judged]:
    return sorted(judged, key=lambda each: ORDER.index(each.verdict))


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _worse(each: Judged) -> str:
    if each.worse is None:
        return ""
    if not each.worse:
        return "none"
    amount = "" if math.isinf(each.worse) else f"{abs(each.worse):.1f}{_unit(each.metric)} "
    return f"{amount}{'worse' if each.worse > 0 else 'better'}"


def _unit(metric: str) -> str:
    if metric.endswith("_db"):
        return " dB"
    return " points" if metric.endswith(ABSOLUTE) else "%"
