"""Figures of quality on labelled data: their metrics, and whether a conversion lost too much to be recommended."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from almaflow.records import EvaluateSpec, Job, Measurement, Outcome, QualityDrop

_FIGURE = re.compile(r"quality/(?!samples$)(?P<name>[^/]+?)(?<!_drop)(?<!_drop_low)(?<!_drop_high)")

NOT_EVALUATED = "not evaluated"
"""How the verdict on a conversion begins that has no figures although they were asked for."""


def quality_metrics(measured: Measurement) -> dict[str, float | None]:
    """Return the figures, what each lost against eager on the same samples with its interval, and the samples."""
    metrics: dict[str, float | None] = {f"quality/{name}": value for name, value in measured.quality.items()}
    for name, drop in measured.quality_drops.items():
        metrics[f"quality/{name}_drop"] = drop.value
        metrics[f"quality/{name}_drop_low"] = drop.low
        metrics[f"quality/{name}_drop_high"] = drop.high
    return metrics | {"quality/samples": measured.quality_samples, "calibration/samples": measured.calibration_samples}


def figures_in(metrics: Iterable[str]) -> list[str]:
    """Return the names of the figures of quality among the names of metrics."""
    return [match["name"] for each in metrics if (match := _FIGURE.fullmatch(each))]


def too_low(job: Job, outcome: Outcome) -> str | None:
    """Tell which figure fell by more than ``evaluate.max_drop``, and how sure that is; None where none did."""
    spec, measured = job.evaluate, outcome.measurement
    if spec is None or spec.max_drop is None or measured is None:
        return None
    told = [_told(name, drop, spec) for name, drop in measured.quality_drops.items() if drop.value > spec.max_drop]
    return "; ".join(told) or None


def _told(name: str, drop: QualityDrop, spec: EvaluateSpec) -> str:
    moved = "grew" if name in spec.lower_is_better else "fell"
    limit = f"evaluate.max_drop={spec.max_drop:g}"
    if drop.low is None or drop.high is None:
        return f"{name} {moved} by {drop.value:.3g}, more than {limit}"
    sure = "" if spec.max_drop is not None and drop.low > spec.max_drop else ", which the interval does not rule out"
    return f"{name} {moved} by {drop.value:.3g} ({drop.low:.3g} to {drop.high:.3g}), more than {limit}{sure}"


def verdict(job: Job, outcome: Outcome) -> str | None:
    """Return ``ok``, why the quality is too low, or why there is no figure of it; None where nobody asked for one."""
    measured = outcome.measurement
    if measured is None or not (measured.quality or measured.quality_error):
        return None
    return f"{NOT_EVALUATED}: {measured.quality_error}" if measured.quality_error else too_low(job, outcome) or "ok"


def fell_too_much(verdict: str | None) -> bool:
    """Whether a verdict that ``verdict`` gave tells of a figure that fell by more than was allowed."""
    return verdict is not None and verdict != "ok" and not verdict.startswith(NOT_EVALUATED)


def shown(metrics: Mapping[str, float | None]) -> str:
    """Return the first figure with what it gained against eager: ``0.762 (-0.012)``; empty where there is none."""
    for name in figures_in(metrics)[:1]:
        value, drop = metrics.get(f"quality/{name}"), metrics.get(f"quality/{name}_drop")
        if value is not None:
            return f"{value:.4g}" + ("" if drop is None else f" ({0.0 - drop:+.2g})")
    return ""
