"""A job or a sweep as one HTML file that can be sent to somebody."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from almaflow.analysis.wording import figure, ratio
from almaflow.report.pictures import latency_against_fidelity, latency_bars

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Template

MILLION = 1_000_000
SECONDS_PER_HOUR = 3600


def document(title: str, outputs: Sequence[Mapping[str, Any]]) -> str:
    """Write the document.

    Args:
        title: What it is about.
        outputs: The jobs, each as ``output=FILE.json`` holds it.
    """
    return template("document.html").render(title=title, jobs=[_job(output) for output in outputs])


def _job(output: Mapping[str, Any]) -> dict[str, Any]:
    entries = output["conversions"]
    timed = sorted((each for each in entries if each["latency_ms"] is not None), key=lambda each: each["latency_ms"])
    return {
        "name": f"{output['model']}, batch size {output['batch_size']}",
        "output": output,
        "rows": [_row(each, output) for each in timed],
        "priced": output.get("price_per_hour") is not None,
        "predicted": any(each["prediction_error_pct"] is not None for each in timed),
        "failed": [each for each in entries if each["status"] == "failed"],
        "missing": _missing(entries),
        "bars": latency_bars(entries) if timed else "",
        "scatter": latency_against_fidelity(entries) if timed else "",
        "recommendations": [made | {"latency": figure(made["latency_ms"])} for made in output["recommendations"]],
        "headroom": None if output["headroom"] is None else ratio(output["headroom"]),
        "best_latency": None if output["best_latency_ms"] is None else figure(output["best_latency_ms"]),
    }


def _row(entry: Mapping[str, Any], output: Mapping[str, Any]) -> dict[str, Any]:
    low, high = entry.get("latency/ci_low"), entry.get("latency/ci_high")
    price, rate = output.get("price_per_hour"), entry["throughput"]
    decibels, error = entry.get("fidelity/sqnr_db"), entry["prediction_error_pct"]
    equal = entry.get("fidelity/max_abs_diff") == 0
    return {
        "conversion": entry["conversion"],
        "best": entry["conversion"] == output["best_conversion"],
        "device": entry["device"],
        "dtype": entry["dtype"],
        "latency": figure(entry["latency_ms"]) + ("" if entry.get("noise/stable", 1) else "~"),
        "interval": "" if low is None or high is None else f"{figure(low)} to {figure(high)}",
        "throughput": "" if rate is None else figure(rate),
        "speedup": "" if entry["speedup_vs_eager"] is None else ratio(entry["speedup_vs_eager"]),
        "fidelity": "equal" if equal else "" if decibels is None else f"{decibels:.1f} dB",
        "error": "" if error is None else f"{error:+.1f}%",
        "cost": "" if price is None or not rate else f"{price / SECONDS_PER_HOUR / rate * MILLION:.2f}",
    }


def _missing(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What could not run here, by the reason."""
    found: dict[str, list[str]] = {}
    for each in entries:
        if each["status"] == "unavailable":
            found.setdefault(each["message"] or "", []).append(each["conversion"])
    return found


@cache
def template(name: str) -> Template:
    """One of the pages beside this module."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("almaflow.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(name)
