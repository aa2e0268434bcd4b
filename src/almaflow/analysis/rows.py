"""Outcomes with their figures, in the order in which people read them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from almaflow.analysis.metrics import counts, device_type, outcome_metrics, timings
from almaflow.analysis.quality import too_low
from almaflow.analysis.rounds import speedup_over
from almaflow.stats import SURE, not_told_apart

if TYPE_CHECKING:
    from almaflow.records import FailureKind, Job, Measurement, Outcome
    from almaflow.stats import Summary


@dataclass(frozen=True)
class Row:
    """An outcome, its metrics and the summary of its timings."""

    outcome: Outcome
    metrics: dict[str, float]
    timed: Summary | None
    """Summary of the timings, also where they do not count."""
    counts: bool
    """Whether the latency may win: see ``metrics.counts``."""
    too_low: str | None = None
    """Why its quality on labelled data keeps it from being recommended; None where nothing does."""
    lower_is_better: tuple[str, ...] = ()
    """Figures of quality of which less is better although their names do not say so."""

    @property
    def name(self) -> str:
        """The conversion's name in the catalogue."""
        return self.outcome.planned.name

    @property
    def may_win(self) -> bool:
        """Whether it may be recommended: its latency counts, and its quality did not fall too far."""
        return self.counts and self.too_low is None

    @property
    def latency_ms(self) -> float | None:
        """Median of one forward call; None where it does not count."""
        return self.metrics.get("latency_ms")

    @property
    def device(self) -> str:
        """The device that the conversion ran on, or was planned for."""
        measured = self.outcome.measurement
        return measured.device_actual if measured else self.outcome.planned.device

    @property
    def failure_kind(self) -> FailureKind | None:
        """The class of the failure, or of the reason why the conversion cannot run here."""
        failure = self.outcome.failure
        return failure.kind if failure else self.outcome.planned.unavailable_kind

    @property
    def message(self) -> str | None:
        """The reason why there is no latency that counts; None where there is one."""
        if self.counts:
            return None
        planned, failure, measured = self.outcome.planned, self.outcome.failure, self.outcome.measurement
        if failure or planned.unavailable:
            return failure.message if failure else planned.unavailable
        if measured and device_type(measured.device_actual) != device_type(planned.device):
            return f"ran on {measured.device_actual}, planned was {planned.device}"
        if measured and measured.fidelity and not measured.fidelity.ok:
            return measured.fidelity.reason or "its output differs from eager's"
        return _cut_short(measured) if self.outcome.interrupted else "no sample was measured"


def _cut_short(measured: Measurement | None) -> str:
    count = len(measured.rounds) if measured else 0
    if not count:
        return "ended before it was timed"
    return f"ended after {count} round{'' if count == 1 else 's'}, before all that was asked for was measured"


def make_row(job: Job, outcome: Outcome) -> Row:
    """Return the row of one outcome, beside the outcomes that the job has so far."""
    lower_is_better = job.evaluate.lower_is_better if job.evaluate else ()
    figures = outcome_metrics(job, outcome), timings(outcome)
    return Row(outcome, *figures, counts(outcome), too_low(job, outcome), lower_is_better)


def make_rows(job: Job) -> tuple[Row, ...]:
    """Return the rows of the job: those that count, the fastest first, then the others in plan order."""
    rows = [make_row(job, outcome) for outcome in job.outcomes]
    ranked = sorted((row for row in rows if row.counts), key=lambda row: row.metrics["latency_ms"])
    return (*ranked, *(row for row in rows if not row.counts))


def is_faster(one: Row, other: Row, threads: int) -> bool:
    """Whether one row that counts is faster than another one for certain.

    It is if the interval of their ratio, over the rounds taken next to each other, lies above 1, and where that is not
    sure the ratio of the floors does too. Where the rounds tell no ratio, it is not. Where they tell one without an
    interval, its median and its floor have to be the lower ones, and not both medians within the other's interquartile
    range.

    Args:
        one: The row that may be faster.
        other: The other row of the same job.
        threads: The number of threads of the job.
    """
    found = speedup_over(other.outcome, one.outcome, threads)
    if found and (found.interval or found.value is None):
        return found.above_one
    if one.timed is None or other.timed is None:
        return False
    lower = one.timed.median < other.timed.median and one.timed.floor <= other.timed.floor
    return lower and not not_told_apart(one.timed, other.timed)


class Compared(Enum):
    """How the first of two rows that count compares with the second."""

    FASTER = auto()
    SLOWER = auto()
    TIED = auto()
    """Neither is faster for certain, and their ratio is known to be near 1."""
    UNKNOWN = auto()
    """Neither is faster for certain, and the ratio may be far from 1: the rounds tell too little."""


def compare(one: Row, other: Row, threads: int) -> Compared:
    """Compare two rows that count; tied are only two whose ratio is known within ``stats.SURE`` either way."""
    if is_faster(one, other, threads):
        return Compared.FASTER
    if is_faster(other, one, threads):
        return Compared.SLOWER
    found = speedup_over(other.outcome, one.outcome, threads)
    if found is None or found.sure:
        return Compared.TIED
    if found.interval:
        near_one = found.interval.high <= SURE and found.interval.low >= 1 / SURE
    else:
        near_one = found.value is not None
    return Compared.TIED if near_one else Compared.UNKNOWN
