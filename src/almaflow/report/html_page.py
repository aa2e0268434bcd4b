"""A job or a sweep as one HTML file that can be sent to somebody."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

from almaflow.analysis.choose import candidates_of
from almaflow.analysis.machines import machine_rows, usd_per_million
from almaflow.analysis.sizes import size_table
from almaflow.analysis.sweep import best_entry
from almaflow.analysis.wording import UNKNOWN, figure
from almaflow.records.plan import INDUCTOR
from almaflow.report import cells
from almaflow.report.choice import ON_THE_FRONT, choice_in, chosen, front_explained, reasons
from almaflow.report.configuration import configuration
from almaflow.report.machines import HEADINGS, MATTER_OF_FACT, columns, machine_cells
from almaflow.report.marks import marks_explained
from almaflow.report.pictures import latency_against_accuracy, latency_bars

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Template


def document(title: str, outputs: Sequence[Mapping[str, Any]]) -> str:
    """Render the document; several jobs have a table over all of them, and are folded below it.

    Args:
        title: The heading.
        outputs: The jobs, each as ``output=FILE.json`` holds it.
    """
    ordered = sorted(outputs, key=lambda output: (str(output["model"]), str(output["batch_size"]).zfill(9)))
    overview = [_overview(output) for output in ordered] if len(outputs) > 1 else []
    machines = machine_rows(ordered)
    shown = columns(machines)
    return template("document.html").render(
        title=title,
        jobs=[_job(output) for output in ordered],
        overview=overview,
        machine_headings=[HEADINGS[number] for number in shown],
        machines=[[machine_cells(row)[number] for number in shown] for row in machines],
        about_machines=MATTER_OF_FACT,
    )


def _overview(output: Mapping[str, Any]) -> dict[str, Any]:
    statuses = Counter(each["status"] for each in output["conversions"])
    entry = best_entry(output)
    return {
        "model": output["model"],
        "batch_size": output["batch_size"],
        "best": output["best_conversion"] or "none",
        "latency": cells.latency(entry),
        "eager": cells.speedup(entry, "eager"),
        "inductor": cells.speedup(entry, "inductor"),
        "fidelity": cells.sqnr(entry),
        "ran": f"{statuses['ok']} of {len(output['conversions'])}",
    }


def _job(output: Mapping[str, Any]) -> dict[str, Any]:
    entries = output["conversions"]
    timed = sorted((each for each in entries if each["latency_ms"] is not None), key=lambda each: each["latency_ms"])
    choice = choice_in(output)
    return {
        "name": f"{output['model']}, batch size {output['batch_size']}",
        "configuration": configuration(output),
        "output": output,
        "rows": [_row(each, output) for each in timed],
        "sizes": size_table((each["conversion"], each) for each in timed),
        "priced": output.get("price_per_hour") is not None,
        "evaluated": cells.quality_name(timed),
        "too_low": [each for each in timed if each.get("quality_ok") is False],
        "predicted": any(each["prediction_error_pct"] is not None for each in timed),
        "failed": [each for each in entries if each["status"] == "failed"],
        "missing": _missing(entries),
        "bars": latency_bars(entries) if timed else "",
        "scatter": latency_against_accuracy(entries, output["pareto"]) if timed else "",
        "recommendations": [each | {"latency": figure(each["latency_ms"])} for each in output["recommendations"]],
        "marks": [*marks_explained(timed), *front_explained(output["pareto"], candidates_of(output))],
        "chosen": chosen(choice) if choice else "",
        "rejected": reasons(choice) if choice else [],
        "headroom": _headroom(output),
        "best_latency": None if output["best_latency_ms"] is None else figure(output["best_latency_ms"]),
    }


def _headroom(output: Mapping[str, Any]) -> str:
    """Tell how many times faster than inductor the best one is, as far as that is known; empty where it is not."""
    names = (output["best_conversion"], *output["tied_with_best"], *output["unclear_beside_best"])
    best = next((each for each in output["conversions"] if each["conversion"] == names[0]), None)
    text = "" if best is None or INDUCTOR in names else cells.speedup(best, "inductor")
    return "" if text == UNKNOWN else text


def _row(entry: Mapping[str, Any], output: Mapping[str, Any]) -> dict[str, Any]:
    cost = usd_per_million(output.get("price_per_hour"), entry["throughput"])
    return {
        "conversion": entry["conversion"],
        "front": ON_THE_FRONT if entry["conversion"] in output["pareto"] else "",
        "best": entry["conversion"] == output["best_conversion"],
        "device": entry["device"],
        "dtype": entry["dtype"],
        "latency": cells.latency(entry),
        "interval": cells.interval(entry, to=" to ", unknown=""),
        "throughput": cells.throughput(entry),
        "speedup": cells.speedup(entry, "eager"),
        "fidelity": cells.sqnr(entry),
        "quality": cells.quality(entry),
        "error": cells.error(entry),
        "cost": "" if cost is None else f"{cost:.2f}",
    }


def _missing(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Group the conversions that could not run here by the reason."""
    groups: dict[str, list[str]] = {}
    for each in entries:
        if each["status"] == "unavailable":
            groups.setdefault(each["message"] or "", []).append(each["conversion"])
    return groups


@cache
def template(name: str) -> Template:
    """Load one of the HTML templates beside this module."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("almaflow.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(name)
