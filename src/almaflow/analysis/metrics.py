"""The metrics of one outcome, by the names that MLflow and ``output=`` share.

Units: ``latency...`` and ``predicted_latency_ms`` in milliseconds, ``throughput`` in samples per second, ``time/...``
in seconds, ``memory/...`` in megabytes, ``..._pct`` in percent, ``fidelity/..._db`` in decibels; the rest has none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from almaflow.analysis.batch_search import search_metrics
from almaflow.analysis.quality import quality_metrics
from almaflow.analysis.rounds import is_stable, round_metrics, same_attempt, speedup_over
from almaflow.analysis.sizes import size_metrics
from almaflow.analysis.stops import counted_samples, steady_rounds
from almaflow.records import Status
from almaflow.records.plan import EAGER, INDUCTOR
from almaflow.stats import Summary, error_pct, summary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from almaflow.records import Job, Measurement, Outcome


HEADLINES = (
    "latency_ms",
    "throughput",
    "speedup_vs_eager",
    "speedup_vs_inductor",
    "predicted_latency_ms",
    "prediction_error_pct",
    "prediction_abs_error_pct",
)
"""The metrics without a section. All but ``predicted_latency_ms`` exist only for an outcome that ``counts``."""


def device_type(device: str) -> str:
    """Return the device without its index: ``cuda`` of ``cuda:0``."""
    return device.partition(":")[0].lower()


def counts(outcome: Outcome) -> bool:
    """Whether the planned conversion ran as planned and gave the right answer, so that its latency may win.

    An outcome that failed, fell back, ran on another device, gave a wrong answer or has no samples does not count.
    """
    measured = outcome.measurement
    return (
        outcome.status is Status.OK
        and outcome.failure is None
        and measured is not None
        and bool(measured.samples_ms)
        and device_type(measured.device_actual) == device_type(outcome.planned.device)
        and (measured.fidelity is None or measured.fidelity.ok)
    )


def timings(outcome: Outcome) -> Summary | None:
    """Summarise the timings, whether they count or not; None where nothing was timed.

    Samples that a stop of the machine or of the process explains are left out.
    """
    if outcome.measurement is None or not outcome.measurement.samples_ms:
        return None
    return summary(counted_samples(outcome.measurement))


def outcome_metrics(job: Job, outcome: Outcome) -> dict[str, float]:
    """Return the metrics of one of the job's outcomes; one that is not known is absent, never zero.

    The headline metrics are there only where ``counts(outcome)``, so that no chart or sort lets a wrong answer win. The
    sections (``latency/...``, ``noise/...``) keep what was timed for diagnosis. Infinite values, such as the SQNR of an
    output that is equal to eager's, are left out: neither JSON nor MLflow can hold them.
    """
    metrics: dict[str, float | None] = {}
    timed = timings(outcome)
    if outcome.prediction is not None:
        metrics["predicted_latency_ms"] = outcome.prediction.latency_ms
    metrics |= _predictions(outcome, timed)
    if timed is not None and counts(outcome):
        metrics |= _headlines(job, outcome, timed)
    if timed is not None:
        metrics |= _latency(timed) | round_metrics(outcome)
    if outcome.measurement is not None:
        metrics |= _details(outcome, outcome.measurement)
        if timed is not None and counts(outcome):
            metrics |= _errors_beside(outcome, timed, metrics)
    return _known(metrics)


def _headlines(job: Job, outcome: Outcome, timed: Summary) -> dict[str, float | None]:
    batch_size = outcome.measurement.batch_size if outcome.measurement else job.model.batch_size
    metrics: dict[str, float | None] = {"latency_ms": timed.median}
    rate = _rate(job, outcome, timed)
    # A clock too coarse for the call reads zero: then there is no rate and no ratio.
    if rate is not None:
        metrics["throughput"] = batch_size * rate
    if timed.median > 0:
        for other, name in (("eager", EAGER), ("inductor", INDUCTOR)):
            metrics |= _speedup(job, outcome, timed, other, name)
        if outcome.prediction is not None:
            error = error_pct(outcome.prediction.latency_ms, timed.median)
            metrics |= {"prediction_error_pct": error, "prediction_abs_error_pct": abs(error)}
    return metrics


def _predictions(outcome: Outcome, timed: Summary | None) -> dict[str, float | None]:
    """Return each prediction, and its errors against the median and the floor where these count.

    The floor repeats from day to day, the median is what an application sees: see docs/timing.md.
    """
    metrics: dict[str, float | None] = {}
    for prediction in outcome.predictions:
        section = f"prediction/{prediction.predictor}"
        metrics |= {
            f"{section}/latency_ms": prediction.latency_ms,
            f"{section}/low_ms": prediction.low_ms,
            f"{section}/high_ms": prediction.high_ms,
            f"{section}/energy_j": prediction.energy_j,
        }
        if timed is not None and counts(outcome) and timed.floor > 0:
            metrics[f"{section}/error_pct"] = error_pct(prediction.latency_ms, timed.median)
            metrics[f"{section}/floor_error_pct"] = error_pct(prediction.latency_ms, timed.floor)
    return metrics


def _errors_beside(outcome: Outcome, timed: Summary, metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return errors in percent that need more than the calls: with the machine's pace taken out, and of the energy.

    A prediction holds for a machine on which the control workload takes the prediction's ``control_ms``. Where the
    workload took twice as long, the prediction is doubled before it is compared with the floor.
    """
    errors: dict[str, float | None] = {}
    control_ms, joules = metrics.get("machine/control_ms"), metrics.get("energy/j_per_sample")
    batch_size = outcome.measurement.batch_size if outcome.measurement else 1
    for prediction in outcome.predictions:
        section = f"prediction/{prediction.predictor}"
        if control_ms and prediction.control_ms and timed.floor > 0:
            scaled = prediction.latency_ms * control_ms / prediction.control_ms
            errors[f"{section}/scaled_error_pct"] = error_pct(scaled, timed.floor)
        if joules and prediction.energy_j is not None:
            errors[f"{section}/energy_error_pct"] = error_pct(prediction.energy_j, joules * batch_size)
    return errors


def _rate(job: Job, outcome: Outcome, timed: Summary) -> float | None:
    """Calls per second: from the mean of single calls, or, where several are made at once, from the rounds' length."""
    rounds = steady_rounds(outcome.measurement) if outcome.measurement else []
    if job.measure.streams > 1 and rounds:
        wall_s = sum(each.wall_s for each in rounds)
        return sum(each.count for each in rounds) / wall_s if wall_s > 0 else None
    return 1000 / timed.mean if timed.mean > 0 else None


def _speedup(job: Job, outcome: Outcome, timed: Summary, other: str, name: str) -> dict[str, float | None]:
    """Return how many times faster than the baseline, as far as the rounds can tell (``stats.speedups``).

    A baseline that a resumed job measured at another time is none: each attempt has its own.
    The ratio of the floors is there in any case, since it repeats from job to job on a shared machine.
    """
    named = (each for each in (*job.outcomes, *job.references) if each.planned.name == name)
    baseline = next((each for each in named if counts(each) and same_attempt(each, outcome)), None)
    baseline_timed = timings(baseline) if baseline else None
    if baseline is None or baseline_timed is None or baseline_timed.median <= 0:
        return {}
    metrics: dict[str, float | None] = {
        f"speedup_vs_{other}": baseline_timed.median / timed.median,
        f"speedup/floor_vs_{other}": baseline_timed.floor / timed.floor if timed.floor > 0 else None,
    }
    if name != outcome.planned.name and (found := speedup_over(baseline, outcome, job.hardware.threads)):
        metrics |= {
            f"speedup_vs_{other}": found.value,
            f"speedup/vs_{other}_stable": found.sure,
            f"speedup/vs_{other}_ci_low": found.interval.low if found.interval else None,
            f"speedup/vs_{other}_ci_high": found.interval.high if found.interval else None,
        }
    return metrics


def _latency(timed: Summary) -> dict[str, float | None]:
    names = ("floor", "mean", "std", "iqr", "min", "max", "p90", "p95", "p99")
    return {f"latency/{name}": getattr(timed, name) for name in names} | {
        "latency/samples": timed.count,
        "noise/cv": timed.cv,
    }


def _details(outcome: Outcome, measured: Measurement) -> dict[str, float | None]:
    metrics: dict[str, float | None] = {
        "time/load": measured.load_s,
        "time/convert": measured.convert_s,
        "time/convert_cpu": measured.convert_cpu_s,
        "time/first_call": measured.first_call_s,
        "time/first_call_cpu": measured.first_call_cpu_s,
        "time/prepared_beside": measured.prepared_beside,
        "time/total": measured.total_s,
        "time/evaluate": measured.evaluate_s,
        "memory/peak_rss_mb": measured.peak_memory_mb,
        "memory/baseline_mb": measured.baseline_memory_mb,
        "memory/device_mb": measured.device_memory_mb,
        "memory/model_mb": measured.model_mb,
        "export/size_mb": measured.export_mb,
        "narrow/weights_share": measured.narrow_weights_share,
        "narrow/work_share": measured.narrow_work_share,
        "compiled/outside_share": measured.outside_share,
    }
    if measured.samples_ms:
        metrics["noise/stable"] = is_stable(outcome)
    if measured.recompiles is not None:
        metrics["noise/recompiles"] = measured.recompiles
    metrics |= quality_metrics(measured) | size_metrics(measured) | search_metrics(measured)
    # A wrong output without a difference could not be compared (its shape, NaN): zeros would look right.
    if measured.fidelity is not None and (measured.fidelity.ok or measured.fidelity.max_abs_diff > 0):
        for name in ("max_abs_diff", "cosine", "sqnr_db", "worst_part_db", "top1_agreement", "equal_share"):
            metrics[f"fidelity/{name}"] = getattr(measured.fidelity, name)
    return metrics


def _known(metrics: Mapping[str, float | None]) -> dict[str, float]:
    return {key: float(value) for key, value in metrics.items() if value is not None and math.isfinite(value)}
