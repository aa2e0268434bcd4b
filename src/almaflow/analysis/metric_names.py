"""The metrics of a conversion by their names: which there are, and whether more or less of one is better."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from almaflow.analysis.metrics import HEADLINES
from almaflow.records.quality import DROP, SECTION, is_error, is_quality_metric, metrics_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SECTIONS = {
    "speedup": "vs_eager_ci_low vs_eager_ci_high vs_eager_stable floor_vs_eager "
    "vs_inductor_ci_low vs_inductor_ci_high vs_inductor_stable floor_vs_inductor",
    "latency": "ci_low ci_high floor mean std iqr min max p90 p95 p99 samples rounds device",
    "machine": "control_ms cpus_used others_cpus steal_cpus frequency_mhz temperature_c gpu_clock_mhz "
    "gpu_other_processes",
    "time": "load convert first_call total convert_cpu first_call_cpu prepared_beside evaluate",
    "memory": "baseline_mb peak_rss_mb device_mb model_mb",
    "narrow": "weights_share work_share",
    "compiled": "outside_share",
    "energy": "j_per_sample",
    "fidelity": "max_abs_diff cosine sqnr_db top1_agreement worst_part_db equal_share",
    "calibration": "samples",
    "export": "size_mb",
    "batch_search": "size throughput latency_ms",
    "noise": "cv stable recompiles processes between_processes",
}
KNOWN = (*HEADLINES, *(f"{section}/{name}" for section, names in _SECTIONS.items() for name in names.split()))
"""Every metric that has one name; the others have the name of a predictor, a size, or a figure of quality."""

_PREDICTED = "latency_ms|low_ms|high_ms|energy_j|error_pct|floor_error_pct|scaled_error_pct|energy_error_pct"
_AT_SIZES = "latency_ms|floor_ms|throughput|sqnr_db|max_abs_diff|recompiles"
_OF_PREDICTOR_OR_SIZE = re.compile(rf"prediction/[^/]+/(?:{_PREDICTED})|size/[^/]+/(?:{_AT_SIZES})")

_MORE_IS_BETTER = re.compile(
    r"throughput|size/[^/]+/(?:throughput|sqnr_db)|speedup.*|fidelity/(?!max_abs_diff).*|narrow/.*"
    r"|batch_search/(?:size|throughput)|latency/(?:samples|rounds)|noise/(?:stable|processes)"
)

EQUAL_DB = 200.0
"""SQNR of an output that is equal to eager's, of which the worst part, and older results, have none."""
_OF_EQUAL_OUTPUTS = {"fidelity/sqnr_db": EQUAL_DB, "fidelity/worst_part_db": EQUAL_DB}


def is_metric(name: str) -> bool:
    """Whether conversions may have a metric of this name."""
    return name in KNOWN or is_quality_metric(name) or _OF_PREDICTOR_OR_SIZE.fullmatch(name) is not None


def unknown_metric(name: str) -> str:
    """Tell that there is no such metric, with the nearest names."""
    near = get_close_matches(name, KNOWN, n=3) or [each for each in KNOWN if name and each.endswith(name)]
    offer = f"nearest: {', '.join(near)}" if near else "docs/architecture.md lists them"
    return f"{name}: no such metric; {offer}"


def unknown_figure(metrics: Iterable[str], figures: Iterable[str]) -> str | None:
    """Tell which metric of an evaluation is none of one with these figures; None where there is no such metric."""
    given = metrics_of(figures := list(figures))
    wrong = next((each for each in metrics if is_quality_metric(each) and each not in given), None)
    return f"choose: {wrong}: the figures of the evaluation are {', '.join(figures)}" if wrong else None


def more_is_better(name: str) -> bool:
    """Whether a larger value of the metric is the better one."""
    if is_quality_metric(name):
        return not (name.endswith(DROP) or is_error(name.removeprefix(SECTION)))
    return _MORE_IS_BETTER.fullmatch(name) is not None


def more_is_better_among(candidates: Iterable[Mapping[str, float | None]], name: str) -> bool:
    """Whether more of a metric is better; of a figure whose name does not say so, by what it lost against eager.

    Args:
        candidates: The metrics of the conversions of a job.
        name: The metric.
    """
    if not more_is_better(name) or not is_quality_metric(name):
        return more_is_better(name)
    both = ((each.get(name), each.get(f"{name}{DROP[0]}")) for each in candidates)
    known = sorted((value, drop) for value, drop in both if value is not None and drop is not None)
    return not known or known[0][0] == known[-1][0] or known[0][1] >= known[-1][1]


def value_of(metrics: Mapping[str, float | None], name: str) -> float | None:
    """Return a conversion's metric; None where it has none."""
    value = metrics.get(name)
    if value is None and metrics.get("fidelity/max_abs_diff") == 0:
        return _OF_EQUAL_OUTPUTS.get(name)
    return value
