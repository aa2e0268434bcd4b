"""The metrics of a conversion by their names: which there are, and whether more or less of one is better."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from almaflow.analysis.metrics import HEADLINES
from almaflow.records.quality import DROP, SECTION, figure_of, is_error, is_quality_metric, metrics_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

_SECTIONS = {
    "speedup": "+vs_eager_ci_low +vs_eager_ci_high +vs_eager_stable +floor_vs_eager "
    "+vs_inductor_ci_low +vs_inductor_ci_high +vs_inductor_stable +floor_vs_inductor",
    "latency": "ci_low ci_high floor mean std iqr min max p90 p95 p99 +samples +rounds device",
    "machine": "control_ms cpus_used others_cpus steal_cpus frequency_mhz temperature_c gpu_clock_mhz "
    "gpu_other_processes",
    "time": "load convert first_call total convert_cpu first_call_cpu prepared_beside evaluate",
    "memory": "baseline_mb peak_rss_mb device_mb model_mb",
    "narrow": "+weights_share +work_share",
    "compiled": "outside_share",
    "energy": "j_per_sample",
    "fidelity": "max_abs_diff +cosine +sqnr_db +top1_agreement +worst_part_db +equal_share",
    "calibration": "samples",
    "export": "size_mb",
    "batch_search": "+size +throughput latency_ms",
    "noise": "cv +stable recompiles +processes between_processes",
}
"""The metrics of each section; a plus marks those of which more is better."""
_MARKED = {
    f"{section}/{name.removeprefix('+')}": name.startswith("+")
    for section, names in _SECTIONS.items()
    for name in names.split()
}
_MORE_IS_BETTER = {each: each.startswith(("throughput", "speedup")) for each in HEADLINES} | _MARKED
KNOWN = tuple(_MORE_IS_BETTER)
"""Every metric that has one name; the others have the name of a predictor, a size, or a figure of quality."""

_PREDICTED = "latency_ms|low_ms|high_ms|energy_j|error_pct|floor_error_pct|scaled_error_pct|energy_error_pct"
_LESS_AT_SIZES, _MORE_AT_SIZES = "latency_ms|floor_ms|max_abs_diff|recompiles", "throughput|sqnr_db"
_OF_PREDICTOR_OR_SIZE = re.compile(
    rf"prediction/[^/]+/(?:{_PREDICTED})|size/[^/]+/(?:{_LESS_AT_SIZES}|(?P<more>{_MORE_AT_SIZES}))"
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


def more_is_better(name: str, lower_is_better: Collection[str] = ()) -> bool:
    """Whether a larger value of the metric is the better one.

    Args:
        name: The metric.
        lower_is_better: Figures of quality of which less is better although their names do not say so.
    """
    if is_quality_metric(name):
        return not (name.endswith(DROP) or is_error(name.removeprefix(SECTION), lower_is_better))
    found = _OF_PREDICTOR_OR_SIZE.fullmatch(name)
    return _MORE_IS_BETTER.get(name, False) or bool(found and found["more"])


def lower_is_better_in(candidates: Iterable[Mapping[str, float | None]]) -> list[str]:
    """Return the figures of which less is better, though their names do not say so, by what each lost against eager.

    For results of an almaflow that did not write down which these are.
    """
    several = list(candidates)
    names = {name: figure for each in several for name in each if (figure := figure_of(name)) and not is_error(figure)}
    return [figure for name, figure in names.items() if _grows_with_its_loss(several, name)]


def _grows_with_its_loss(candidates: Iterable[Mapping[str, float | None]], name: str) -> bool:
    both = ((each.get(name), each.get(f"{name}{DROP[0]}")) for each in candidates)
    known = sorted((value, drop) for value, drop in both if value is not None and drop is not None)
    return bool(known) and known[0][0] < known[-1][0] and known[0][1] < known[-1][1]


def value_of(metrics: Mapping[str, float | None], name: str) -> float | None:
    """Return a conversion's metric; None where it has none."""
    value = metrics.get(name)
    if value is None and metrics.get("fidelity/max_abs_diff") == 0:
        return _OF_EQUAL_OUTPUTS.get(name)
    return value
