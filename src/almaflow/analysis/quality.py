"""Figures of quality on labelled data: their metrics, and whether a conversion lost too much to be recommended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.records.quality import DROP, SECTION, figure_of, is_error
from almaflow.stats import exceeds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from almaflow.records import Job, Measurement, Outcome, QualityDrop


def quality_metrics(measured: Measurement) -> dict[str, float | None]:
    """Return the figures, what each lost against eager on the same samples with its interval, and the samples."""
    metrics: dict[str, float | None] = {f"{SECTION}{name}": value for name, value in measured.quality.items()}
    for name, drop in measured.quality_drops.items():
        metrics |= zip((f"{SECTION}{name}{end}" for end in DROP), (drop.value, drop.low, drop.high), strict=True)
    return metrics | {
        f"{SECTION}samples": measured.quality_samples,
        "calibration/samples": measured.calibration_samples,
    }


def figures_in(metrics: Iterable[str]) -> list[str]:
    """Return the names of the figures of quality among the names of metrics."""
    return [name for each in metrics if (name := figure_of(each))]


def too_low(job: Job, outcome: Outcome) -> str | None:
    """Tell which figure fell by more than ``evaluate.max_drop``, and how sure that is; None where none did."""
    spec, measured = job.evaluate, outcome.measurement
    if spec is None or spec.max_drop is None or measured is None:
        return None
    told = [
        _told(name, drop, spec.max_drop, less=is_error(name, spec.lower_is_better))
        for name, drop in measured.quality_drops.items()
        if exceeds(drop.value, spec.max_drop)
    ]
    return "; ".join(told) or None


def _told(name: str, drop: QualityDrop, most: float, *, less: bool) -> str:
    moved = "grew" if less else "fell"
    limit = f"evaluate.max_drop={most:g}"
    if drop.low is None or drop.high is None:
        return f"{name} {moved} by {drop.value:.3g}, more than {limit}"
    sure = "" if exceeds(drop.low, most) else ", which the interval does not rule out"
    return f"{name} {moved} by {drop.value:.3g} ({drop.low:.3g} to {drop.high:.3g}), more than {limit}{sure}"


def quality_ok(job: Job, outcome: Outcome) -> bool | None:
    """Whether its quality keeps to what was asked for; None where nobody asked, or it is not known."""
    if too_low(job, outcome):
        return False
    return True if outcome.measurement and outcome.measurement.quality else None


def verdict(job: Job, outcome: Outcome) -> str | None:
    """Return ``ok``, why the quality is too low, or why there is no figure of it; None where nobody asked for one."""
    measured = outcome.measurement
    if measured is None or not (measured.quality or measured.quality_error):
        return None
    return f"not evaluated: {measured.quality_error}" if measured.quality_error else too_low(job, outcome) or "ok"


def shown(metrics: Mapping[str, float | None], lower_is_better: Collection[str] = ()) -> str:
    """Return the first figure with how far it lies from eager's: ``0.762 (-0.012)``; empty where there is none."""
    for name in figures_in(metrics)[:1]:
        value, drop = metrics.get(f"{SECTION}{name}"), metrics.get(f"{SECTION}{name}_drop")
        if value is not None:
            beyond = None if drop is None else 0.0 + drop if is_error(name, lower_is_better) else 0.0 - drop
            return f"{value:.4g}" + ("" if beyond is None else f" ({beyond:+.2g})")
    return ""
