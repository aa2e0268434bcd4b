"""A sweep over its jobs: one row each, and every failure by its name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from almaflow.analysis.machines import machine_rows
from almaflow.errors import ALERT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from almaflow.analysis.machines import MachineRow
    from almaflow.records import Sweep, SweepJob

NOT_RUN = "did not run"
LOST = "began and did not end: its process or machine was lost; resume=true goes on with it"


@dataclass(frozen=True)
class SweepRow:
    """One job of a sweep."""

    number: int
    what: str
    """Model and batch size where these tell the jobs apart, else the overrides in which they differ."""
    job_id: str | None
    best: str | None
    figures: Mapping[str, Any]
    """The entry of the best conversion in ``output=FILE.json``; empty where there is none."""
    counts: Counter[str]
    """Number of conversions by status."""
    took_s: float | None
    problem: str | None
    """The reason why the job has no result, or no good one."""

    @property
    def latency_ms(self) -> float | None:
        """Median of the best conversion."""
        return self.figures.get("latency_ms")


@dataclass(frozen=True)
class SweepFailure:
    """A conversion that failed in a job of a sweep."""

    what: str
    conversion: str
    failure: str
    message: str


@dataclass(frozen=True)
class SweepSummary:
    """A sweep with the results and failures of its jobs."""

    sweep: Sweep
    rows: tuple[SweepRow, ...]
    failures: tuple[SweepFailure, ...]
    latencies: dict[str, dict[str, float]]
    """Milliseconds by conversion, then by the job's ``what``."""
    machines: tuple[MachineRow, ...] = ()
    """The best of each model on each machine; empty where there is only one machine."""

    @property
    def failed_jobs(self) -> int:
        """Number of jobs without a result, or with one that their settings call a failure."""
        return sum(row.problem is not None for row in self.rows)

    @property
    def metrics(self) -> dict[str, float]:
        """Figures of the sweep's own run."""
        counts = sum((row.counts for row in self.rows), Counter())
        figures = {f"conversions_{status}": float(counts[status]) for status in ("ok", "failed", "unavailable")}
        return {"jobs": float(len(self.rows)), "jobs_failed": float(self.failed_jobs)} | figures


def what_differs(overrides: Mapping[int, Sequence[str]]) -> dict[int, str]:
    """Return for each job, by number, the overrides that not all of them have."""
    common = set.intersection(*map(set, overrides.values())) if len(overrides) > 1 else set()
    return {
        number: " ".join(each for each in own if each not in common) or f"job {number}"
        for number, own in overrides.items()
    }


def workload(output: Mapping[str, Any]) -> str:
    """Name a job's model and batch size: ``resnet18 b4``."""
    return f"{output['model']} b{output['batch_size']}"


def _labels(overrides: Mapping[int, Sequence[str]], outputs: Mapping[int, Mapping[str, Any]]) -> dict[int, str]:
    known = {number: output for number, output in outputs.items() if output.get("model", "unknown") != "unknown"}
    short = {number: workload(output) for number, output in known.items()}
    return what_differs(overrides) | (short if len(set(short.values())) == len(overrides) else {})


def summarise(sweep: Sweep, jobs: Sequence[SweepJob], begun: Collection[int] = ()) -> SweepSummary:
    """Summarise the sweep: the jobs that ended, and those that are planned and did not.

    Args:
        sweep: The sweep.
        jobs: The jobs that ended.
        begun: The numbers of those that began.
    """
    ended = {job.number: job for job in jobs}
    overrides = {job.number: job.overrides for job in jobs}
    overrides |= dict(enumerate(sweep.planned or ()))
    outputs = {number: job.output for number, job in ended.items() if job.output}
    labels = _labels(overrides, outputs)
    failures = [
        SweepFailure(labels[number], entry["conversion"], entry["failure"] or "interrupted", entry["message"] or "")
        for number, output in sorted(outputs.items())
        for entry in output["conversions"]
        if entry["status"] == "failed"
    ]
    latencies: dict[str, dict[str, float]] = {}
    for number, output in sorted(outputs.items()):
        for entry in output["conversions"]:
            if entry["latency_ms"] is not None:
                latencies.setdefault(entry["conversion"], {})[labels[number]] = entry["latency_ms"]
    rows = tuple(_row(number, labels[number], ended.get(number), begun=number in begun) for number in sorted(labels))
    machines = machine_rows([outputs[number] for number in sorted(outputs)])
    return SweepSummary(sweep, rows, tuple(failures), latencies, machines)


def best_entry(output: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the entry of a job's best conversion; empty where it has none."""
    named = (each for each in output.get("conversions", ()) if each["conversion"] == output.get("best_conversion"))
    return next(named, {})


def _row(number: int, what: str, job: SweepJob | None, *, begun: bool) -> SweepRow:
    output: dict[str, Any] = (job.output if job else None) or {}
    problem = (LOST if begun else NOT_RUN) if job is None else job.error
    if job and not problem and job.code:
        problem = "a conversion failed, which strict=true counts"
        if output.get("interrupted"):
            problem = "interrupted"
        elif job.code == ALERT:
            problem = "no conversion keeps to the limits of choose"
    return SweepRow(
        number=number,
        what=what,
        job_id=output.get("job_id"),
        best=output.get("best_conversion"),
        figures=best_entry(output),
        counts=Counter(entry["status"] for entry in output.get("conversions", ())),
        took_s=job.ended_at - job.started_at if job else None,
        problem=problem,
    )
