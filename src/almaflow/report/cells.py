"""The texts that the terminal table and the Markdown table share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.analysis import wording
from almaflow.analysis.quality import figures_in
from almaflow.analysis.quality import shown as shown_quality
from almaflow.analysis.standings import standings
from almaflow.analysis.wording import UNKNOWN, beside, doubts, figure, names
from almaflow.records.plan import INDUCTOR
from almaflow.records.shares import percent
from almaflow.report.choice import front_explained
from almaflow.report.marks import MARK, is_unstable, marks_explained

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from almaflow.analysis import Analysis, Row
    from almaflow.records import Job

    # A row's metrics, or the job's entry of one conversion in ``output=FILE.json``, which has them all.
    Metrics = Mapping[str, float | None]

PART = 0.01
"""Where inductor left a smaller share of the FLOPs than this to eager, it compiled the model."""
OVERRIDDEN = "! ran on another device than the job's"


def device(row: Row) -> str:
    """Name the device that the conversion ran on, with a mark where it is not the job's."""
    return row.device + ("!" if row.outcome.planned.device_override else "")


def latency(metrics: Metrics) -> str:
    """Median in milliseconds, with a mark where it is unsure."""
    value = metrics.get("latency_ms")
    if value is None:
        return ""
    return figure(value) + (MARK if is_unstable(metrics) else "")


def interval(metrics: Metrics, to: str = "-", unknown: str = "?") -> str:
    """The 95% interval of the median in milliseconds; it is unknown for fewer than six rounds."""
    low, high = metrics.get("latency/ci_low"), metrics.get("latency/ci_high")
    return unknown if low is None or high is None else f"{figure(low)}{to}{figure(high)}"


def throughput(metrics: Metrics) -> str:
    """Samples per second."""
    value = metrics.get("throughput")
    return "" if value is None else figure(value)


def speedup(metrics: Metrics, baseline: str) -> str:
    """Speedup over ``eager`` or ``inductor``, only as precisely as it is known."""
    return wording.speedup(metrics, baseline)


def sqnr(metrics: Metrics) -> str:
    """The signal-to-noise ratio of the output against eager's, in decibels, or ``equal``."""
    decibels = metrics.get("fidelity/sqnr_db")
    if metrics.get("fidelity/max_abs_diff") == 0:
        return "equal"
    return "" if decibels is None else f"{decibels:.1f} dB"


def fidelity(row: Row) -> tuple[str, str]:
    """Tell the SQNR against eager, and the verdict."""
    measured = row.outcome.measurement
    if measured is None or measured.fidelity is None:
        return "", "unchecked"
    return sqnr(row.metrics), "ok" if measured.fidelity.ok else "wrong"


def quality(metrics: Metrics, lower_is_better: Collection[str] = ()) -> str:
    """Tell the first figure on labelled data, and in brackets what it gained against eager."""
    return shown_quality(metrics, lower_is_better)


def quality_name(several: Iterable[Metrics]) -> str:
    """Name the figure of quality that these conversions have first; empty where none was evaluated."""
    return next((name for metrics in several for name in figures_in(metrics)[:1]), "")


def error(metrics: Metrics) -> str:
    """Signed prediction error in percent."""
    value = metrics.get("prediction_error_pct")
    return "" if value is None else f"{value:+.1f}%"


PREDICTIONS = ("predictor", "of the median", "of the floor", "conversions")


def predictions(analysis: Analysis) -> list[tuple[str, str, str, str]]:
    """Mean absolute error of each predictor, beside the baselines; none where no named predictor had an answer."""
    if not any("prediction_error_pct" in row.metrics for row in analysis.rows):
        return []
    return [
        (each.predictor, f"{each.mean_abs_error_pct:.1f}%", f"{each.mean_abs_floor_error_pct:.1f}%", str(each.count))
        for each in standings(row.metrics for row in analysis.rows)
    ]


def legend(analysis: Analysis) -> list[str]:
    """Explain the marks that the table has, and pass on recompilations and the worker's notes."""
    shown = [row for row in analysis.rows if row.counts]
    lines = marks_explained(row.metrics for row in shown)
    lines += front_explained(analysis.pareto, {row.name: row.metrics for row in shown})
    notes: dict[str, list[str]] = {}
    if any(row.outcome.planned.device_override for row in shown):
        lines.append(OVERRIDDEN)
    lines += [f"{row.name}: not recommended, {row.too_low}" for row in shown if row.too_low]
    for row in shown:
        if recompiles := row.metrics.get("noise/recompiles"):
            notes.setdefault(f"compiled anew {recompiles:.0f} times during the timed calls", []).append(row.name)
        for note in row.outcome.measurement.notes if row.outcome.measurement else ():
            notes.setdefault(note, []).append(row.name)
    return lines + [f"{names(rows)}: {note}" for note, rows in notes.items()]


def model_notes(job: Job) -> tuple[str, ...]:
    """Pass on what the preparing worker found out about the model, and what eager is worth on labelled data."""
    if job.prepared is None:
        return ()
    found = ", ".join(f"{name} {value:.4g}" for name, value in job.prepared.quality.items())
    samples = job.prepared.quality_samples
    told = f"eager on {samples} labelled samples: {found}; in brackets, what a conversion gained on the same ones"
    return (*job.prepared.notes, *([told] if found else []))


def interrupted(job: Job) -> str:
    """Tell that the job was interrupted, and how it goes on; empty where it was not."""
    if not job.interrupted:
        return ""
    return "The job was interrupted: the same command with resume=true measures what is missing"


def title(job: Job) -> str:
    """Name the model, the machine, the batch size, the threads, and the tier where the job has its conversions."""
    cpu = job.environment.get("gpu" if job.hardware.device.startswith("cuda") else "cpu", "")
    # Without a named machine the hardware's name is the processor's.
    where = f"{job.hardware.name} ({cpu})" if cpu and cpu != job.hardware.name else job.hardware.name
    threads = f"{job.hardware.threads} thread{'' if job.hardware.threads == 1 else 's'}"
    tier = "" if job.config.get("conversions") else f", tier {job.tier}"
    return f"{job.model.name} on {where}, batch size {job.model.batch_size}, {threads}{tier}"


def best(analysis: Analysis) -> str:
    """Name the best conversion, those that are as fast, those of which that is not known, and a busy machine."""
    if analysis.best is None:
        kept = any(row.counts for row in analysis.rows)  # by its quality alone
        return f"Best: none, no conversion has a valid latency{' and the quality asked for' if kept else ''}"
    metrics = analysis.best.metrics
    speedups = beside(metrics)
    text = f"Best: {analysis.best_conversion}, {latency(metrics)} ms"
    text += f" ({speedups})" if speedups else ""
    text += "".join(f"; {each}" for each in doubts(metrics))
    if analysis.tied_with_best:
        text += f"; tied with {names(analysis.tied_with_best)}"
    if analysis.unclear_beside_best:
        text += f"; not known to be faster than {names(analysis.unclear_beside_best)}"
    return text + ("; the machine was busy: measure again" if analysis.busy else "")


def headroom(analysis: Analysis) -> str:
    """Tell how much faster than inductor the best conversion is, and what inductor is where it compiled only a part.

    Empty where inductor was not asked for.
    """
    inductor = next((row for row in analysis.rows if row.name == INDUCTOR), None)
    if inductor is None:
        return ""
    if analysis.best is None or not inductor.counts:
        return f"Headroom beyond inductor: unknown, {INDUCTOR} has no valid latency"
    share = analysis.inductor_outside_share or 0.0
    part = f"; inductor compiled only a part, {percent(share)} of the FLOPs ran eagerly" if share >= PART else ""
    if analysis.best is inductor:
        return f"Headroom beyond inductor: none, it is the fastest here{part}"
    if INDUCTOR in analysis.tied_with_best:
        return f"Headroom beyond inductor: none, it is tied with {analysis.best_conversion}{part}"
    text = speedup(analysis.best.metrics, "inductor")
    if text in {UNKNOWN, ""} or INDUCTOR in analysis.unclear_beside_best:
        return f"Headroom beyond inductor: unknown, the rounds of both differ too much{part}"
    return f"Headroom beyond inductor: {text} with {analysis.best_conversion}{part}"


def failures(analysis: Analysis) -> dict[str, list[Row]]:
    """Rows that were run, or were to be, and gave no latency that counts, in plan order, by what became of them."""
    groups: dict[str, list[Row]] = {}
    for row in analysis.rows:
        if not row.counts and not row.outcome.planned.unavailable:
            groups.setdefault("Interrupted" if row.outcome.interrupted else "Failed", []).append(row)
    return dict(sorted(groups.items()))


def failure(row: Row) -> str:
    """Tell the failure's class, its phase, the first line of its reason, and the time that was measured, if any."""
    failed = row.outcome.failure
    kind = row.failure_kind or row.outcome.status
    phase = f" in {failed.phase}" if failed and failed.phase else ""
    text = first_line(row.message) if row.outcome.interrupted else f"{kind}{phase}: {first_line(row.message)}"
    if row.timed:
        text += f" (its {figure(row.timed.median)} ms do not count)"
    return text


def first_line(text: str | None) -> str:
    """Return the first line that is not blank, or say that no reason was given."""
    return next((line.strip() for line in (text or "").splitlines() if line.strip()), "no reason was given")


def unavailable(analysis: Analysis) -> dict[str, list[str]]:
    """Group the conversions that cannot run here by the reason, with the install line where there is one."""
    groups: dict[str, list[str]] = {}
    for row in analysis.rows:
        planned = row.outcome.planned
        if not row.counts and planned.unavailable:
            kind = f"{row.failure_kind}: " if row.failure_kind else ""
            reason = f"{kind}{first_line(row.message)}" + (
                f" (to install: {planned.install})" if planned.install else ""
            )
            groups.setdefault(reason, []).append(row.name)
    return groups
