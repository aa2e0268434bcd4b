"""The verdict on a job: which conversion won, by how much, and what to use it for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from almaflow.analysis.choose import Choice, choose, shortfalls
from almaflow.analysis.pareto import front
from almaflow.analysis.recommend import Recommendation, recommend
from almaflow.analysis.rows import Compared, Row, compare, make_row, make_rows
from almaflow.analysis.warnings import busy, warnings_of
from almaflow.records import Status
from almaflow.records.clock import now
from almaflow.records.plan import INDUCTOR

if TYPE_CHECKING:
    from almaflow.records import Job, Outcome


@dataclass(frozen=True)
class Analysis:
    """The verdict on a job. A figure is None where no outcome gives it."""

    rows: tuple[Row, ...]
    """Outcomes that count, the fastest first, then the others in plan order."""
    best: Row | None
    """The fastest that counts and whose quality, where it was evaluated, has not fallen too far."""
    tied_with_best: tuple[str, ...]
    """Conversions that are as fast as the best one, as far as can be told (``rows.Compared.TIED``)."""
    unclear_beside_best: tuple[str, ...]
    """Those of which the rounds do not tell how they compare with the best one."""
    headroom: float | None
    """How many times faster than COMPILE_INDUCTOR_DEFAULT the best one is; 1 where inductor is the best or tied."""
    recommendations: tuple[Recommendation, ...]
    warnings: tuple[str, ...]
    """What speaks against the figures: see ``warnings.warnings_of``."""
    busy: bool
    """Whether others took a noticeable part of the machine."""
    lower_is_better: tuple[str, ...]
    """Figures of quality of which less is better although their names do not say so."""
    pareto: tuple[str, ...]
    """Conversions on the Pareto front of latency, accuracy and size, the fastest first: see ``pareto.front``."""
    choice: Choice | None
    """The best under the limits that the job was given; None where it was given none."""

    @property
    def ranked(self) -> tuple[str, ...]:
        """The conversions that may be deployed, the best first: under the limits of the job, or else by latency."""
        return tuple(self.choice.fitting if self.choice else (row.name for row in self.rows if row.may_win))

    @property
    def inductor_outside_share(self) -> float | None:
        """Share of the FLOPs, 0 to 1, that ran eagerly in the inductor that the headroom is measured against."""
        row = next((row for row in self.rows if row.name == INDUCTOR and row.counts), None)
        return row.outcome.measurement.outside_share if row and row.outcome.measurement else None

    @property
    def best_conversion(self) -> str | None:
        """The name of the best one."""
        return self.best.name if self.best else None

    @property
    def best_latency_ms(self) -> float | None:
        """Median of the best one."""
        return self.best.latency_ms if self.best else None

    @property
    def best_speedup_vs_eager(self) -> float | None:
        """How many times faster than eager the best one is; None where that is not known."""
        return self.best.metrics.get("speedup_vs_eager") if self.best else None

    @property
    def best_speedup_vs_inductor(self) -> float | None:
        """How many times faster than inductor the best one is; None where that is not known."""
        return self.best.metrics.get("speedup_vs_inductor") if self.best else None


def analyse(job: Job) -> Analysis:
    """Judge the job by the outcomes it has, whether it is finished or not."""
    rows = make_rows(job)
    ranked = tuple(row for row in rows if row.may_win)
    best = ranked[0] if ranked else None
    threads = job.hardware.threads
    lower_is_better = job.evaluate.lower_is_better if job.evaluate else ()
    beside = {row.name: compare(best, row, threads) for row in ranked[1:]} if best else {}
    unclear = tuple(name for name, found in beside.items() if found is Compared.UNKNOWN)
    tied = tuple(name for name, found in beside.items() if found in {Compared.TIED, Compared.SLOWER})
    headroom = best.metrics.get("speedup_vs_inductor") if best else None
    named = {row.name: row for row in ranked}
    candidates = {name: row.metrics for name, row in named.items()}
    fallen = {row.name: row.too_low for row in rows if row.counts and row.too_low}

    def tied_by_rounds(one: str, other: str) -> bool:
        return compare(named[one], named[other], threads) in {Compared.TIED, Compared.SLOWER}

    return Analysis(
        rows=rows,
        best=best,
        tied_with_best=tied,
        unclear_beside_best=unclear,
        headroom=1.0 if INDUCTOR in tied else None if INDUCTOR in unclear else headroom,
        recommendations=recommend(job, ranked),
        warnings=warnings_of(job),
        busy=bool(busy(job)),
        lower_is_better=lower_is_better,
        pareto=tuple(front(candidates, lower_is_better)),
        choice=choose(candidates, job.choose, tied_by_rounds, fallen, lower_is_better) if job.choose.asked else None,
    )


def may_be_best(job: Job, outcome: Outcome) -> bool:
    """Whether a conversion may be the one to deploy: it may win, and keeps to the limits that the job was given."""
    row = make_row(job, outcome)
    return row.may_win and not (job.choose.asked and shortfalls(row.metrics, job.choose))


def job_metrics(job: Job) -> dict[str, float]:
    """Return the metrics of the job's own run; one that is not known is absent."""
    analysis = analyse(job)
    figures = {
        "best_latency_ms": analysis.best_latency_ms,
        "best_speedup_vs_eager": analysis.best_speedup_vs_eager,
        "best_speedup_vs_inductor": analysis.best_speedup_vs_inductor,
        "time/job": (job.ended_at or now()) - job.started_at,
        "machine/drift_pct": 100 * job.drift.relative if job.drift else None,
        "machine/drift_resolved_pct": 100 * job.drift.resolved if job.drift else None,
    }
    counts = {status: sum(outcome.status is status for outcome in job.outcomes) for status in Status}
    metrics = {f"conversions_{status}": float(count) for status, count in counts.items()}
    return metrics | {name: value for name, value in figures.items() if value is not None}
