"""Write the tables of docs/results/conversions.md from the catalogue and from what a store says of each conversion.

    almaflow run -m model=resnet18,mobilenet_v2,vit_b_32,bert tier=3
    python benchmarks/conversions_page.py

The newest run of each conversion and model counts. Prose is left alone: a table lies between two comments.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from shared import BenchmarkError, make_parser, run_script, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from almaflow.conversions.catalogue.entry import Conversion
    from almaflow.tracking.reader import StoredRun

MODELS = ("resnet18", "mobilenet_v2", "vit_b_32", "bert")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "results" / "conversions.md"

Runs = dict[tuple[str, str], "StoredRun"]
"""By conversion and model."""


def main() -> None:
    """Replace the tables."""
    parser = make_parser(__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS), metavar="NAME")
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    from almaflow.conversions.catalogue.tiers import everything
    from almaflow.tracking.reader import conversion_runs
    from almaflow.tracking.uris import resolve_uri

    runs: Runs = {}
    for run in conversion_runs(resolve_uri(None)):  # the newest first
        key = run.params.get("conversion", ""), run.params.get("model", "")
        if key[1] in arguments.models and run.params.get("tier") == "3":
            runs.setdefault(key, run)
    if not runs:
        message = "the store has no tier-3 run of these models: almaflow run -m model=... tier=3"
        raise BenchmarkError(message)
    page = arguments.page.read_text(encoding="utf-8")
    for name, lines in {
        "counts": counts(everything(), runs, arguments.models),
        "results": results(everything(), runs, arguments.models),
        "reasons": reasons(everything(), runs, arguments.models),
    }.items():
        page = replaced(page, name, lines)
    arguments.page.write_text(page, encoding="utf-8")
    say(f"{len(runs)} results in {arguments.page.name}")


def counts(entries: Sequence[Conversion], runs: Runs, models: Sequence[str]) -> list[str]:
    """How many conversions ended how, by model."""
    rows = []
    for model in models:
        statuses = [status(runs.get((entry.name, model))) for entry in entries]
        rows.append([model, *(str(statuses.count(each)) for each in ("ok", "failed", "unavailable"))])
    return table(["model", "ok", "failed", "unavailable"], rows)


def results(entries: Sequence[Conversion], runs: Runs, models: Sequence[str]) -> list[str]:
    """One row for each conversion: what it does and needs, and its latency on each model."""
    rows = []
    for entry in entries:
        needs = ", ".join(f"`{need}`" for need in entry.needs[1:] if not need.startswith("alma-torch"))
        number = "" if entry.number is None else str(entry.number)
        cells = [cell(runs.get((entry.name, model))) for model in models]
        rows.append([number, f"`{entry.name}`", entry.summary, entry.device, needs, *cells])
    return table(["#", "conversion", "what it does", "device", "needs", *models], rows)


def reasons(entries: Sequence[Conversion], runs: Runs, models: Sequence[str]) -> list[str]:
    """Why what is not ok is not: each reason once, with the conversions and models that it holds for."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        for model in models:
            run = runs.get((entry.name, model))
            if run and status(run) != "ok":
                reason = re.sub(r" at 0x[0-9a-f]+", "", why(run.tags))  # an address is another one each time
                found[reason][entry.name].append(model)
    rows = []
    for reason, names in sorted(found.items()):
        told = [f"`{name}`" + ("" if len(on) == len(models) else f" ({', '.join(on)})") for name, on in names.items()]
        rows.append([reason, ", ".join(told)])
    return table(["why", "conversions"], rows)


def status(run: StoredRun | None) -> str:
    """``ok``, ``failed``, ``unavailable``, or nothing where it was not run."""
    return run.tags.get("almaflow.status", "") if run else ""


def cell(run: StoredRun | None) -> str:
    """Latency and fidelity in short, or how it failed."""
    if run is None:
        return ""
    if status(run) != "ok":
        return run.tags.get("almaflow.failure", "") if status(run) == "failed" else "-"
    unstable = "" if run.metrics.get("noise/stable") else "~"
    return f"{run.metrics['latency_ms']:.3g}{unstable} ms, {run.metrics['fidelity/sqnr_db']:.0f} dB"


def why(tags: Mapping[str, str]) -> str:
    """The failure and its line, in what a Markdown table can hold."""
    line = tags.get("almaflow.failure_message") or tags.get("almaflow.unavailable") or "interrupted"
    text = f"{tags.get('almaflow.failure', '')}: {line}"
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return ["| " + " | ".join(row) + " |" for row in (headings, ["---"] * len(headings), *rows)]


def replaced(page: str, name: str, lines: Sequence[str], by: str = Path(__file__).name) -> str:
    """The page with the table between its two comments replaced."""
    begin, end = f"<!-- {name}: made by benchmarks/{by} -->", f"<!-- end of {name} -->"
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        message = f"the page has no place for {name}: {begin} and {end}"
        raise BenchmarkError(message)
    return "\n".join([before + begin, "", *lines, "", end + after])


if __name__ == "__main__":
    run_script(main)
