"""Finds out what the store already has of a job, so that only the rest is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.analysis import EAGER, INDUCTOR, counts
from almaflow.conversions.catalogue.plan import with_traits
from almaflow.errors import RecordError
from almaflow.jobs.files import JobFiles
from almaflow.jobs.sync import sync
from almaflow.records import FailureKind, Status
from almaflow.tracking.fingerprints import fingerprint
from almaflow.tracking.resumable import earlier_job, earlier_results, not_taken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from almaflow.records import Job, Outcome, PlannedConversion
    from almaflow.tracking.reader import StoredRun


@dataclass(frozen=True)
class Resumed:
    """A job of which a part is known."""

    job: Job
    """The job with the outcomes that are known: the earlier one where that had the same plan, else a new one."""
    to_measure: tuple[PlannedConversion, ...]
    """In plan order."""
    to_remeasure: tuple[PlannedConversion, ...]
    """Known, and timed again beside ``to_measure``, since speedups come from rounds taken in turns."""
    note: str | None = None
    """Why results of the model's name are not taken."""
    needs_closing: bool = False
    """All is known, but the earlier job was ended before its own run was."""

    @property
    def anything_to_do(self) -> bool:
        """Whether something is to be measured or closed."""
        return bool(self.to_measure or self.needs_closing)

    @property
    def attempt(self) -> int:
        """Number this attempt: the rounds of different attempts were not taken next to each other."""
        return 1 + max(map(_last_process, [*self.job.outcomes, *self.job.references]), default=-1)


def resume(
    job: Job,
    plan: Sequence[PlannedConversion],
    uri: str,
    *,
    failures_only: bool,
    warn: Callable[[str], None] = lambda _: None,
) -> Resumed:
    """Find out what of a prepared job the store has, under the same fingerprint and measured as this one would be.

    Waiting jobs that measured a part of it are written to the store first. Other jobs stay as they are, and whatever is
    wrong with their files does not matter here.

    Args:
        job: A new job, prepared.
        plan: Its conversions.
        uri: A resolved store.
        failures_only: Measure again what failed, and nothing else; otherwise measure what the store does not have.
            What was interrupted, lacks figures of quality on the job's samples and labels, or failed for the machine's
            own trouble, is measured again in either case.
        warn: Called with one line where jobs are not in the store.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    waiting = [each for each in sync(uri, _measures_part_of(job, plan)) if each.why_not]
    if waiting:
        warn(f"earlier jobs not wholly in the store: {len(waiting)}; `almaflow sync` writes them, or says why not")
    found = {name: with_traits(each) for name, each in earlier_results(job, plan, uri).items()}
    lacking = {name for name, each in found.items() if _to_evaluate(job, each)}
    retried = {name for name, each in found.items() if is_open(each) or (failures_only and _failed(each))} | lacking
    known = {name: each for name, each in found.items() if name not in retried}
    to_measure = [each for each in plan if each.name in retried or (not failures_only and each.name not in known)]
    before = earlier_job(job, uri)
    needs_closing = False
    if before and (earlier := _going_on(job, before, warn)):
        job = earlier
        needs_closing = before.tags.get("almaflow.status") != Status.OK
    taken = _kept_apart(job, [_as_asked(job, known[each.name]) for each in plan if each.name in known])
    to_run = any(not each.unavailable for each in to_measure)
    to_remeasure = [
        each for each in plan if to_run and each.name in {EAGER, INDUCTOR} and _counts(known.get(each.name))
    ]
    not_found = [each for each in to_measure if each.name not in found]
    return Resumed(
        replace(job, outcomes=taken),
        tuple(to_measure),
        tuple(to_remeasure),
        not_taken(job, not_found, uri) if not_found else None,
        needs_closing=needs_closing and not failures_only,
    )


def _measures_part_of(job: Job, plan: Sequence[PlannedConversion]) -> Callable[[Job], bool]:
    """Whether a job has the plan of this one, or a result that stands for one of this job's."""
    wanted = {fingerprint(job, each) for each in plan}

    def measures_part(other: Job) -> bool:
        if other.experiment_name != job.experiment_name:
            return False
        same_plan = other.plan_fingerprint is not None and other.plan_fingerprint == job.plan_fingerprint
        return same_plan or any(fingerprint(other, each.planned) in wanted for each in other.outcomes)

    return measures_part


def _going_on(job: Job, before: StoredRun, warn: Callable[[str], None]) -> Job | None:
    """The new attempt as a part of the earlier job; None where the earlier one's record cannot be read."""
    job_id, sweep_id = before.tags["almaflow.job_id"], before.tags.get("almaflow.sweep_id")
    directory = machine.home() / "jobs" / job_id
    references: tuple[Outcome, ...] = ()
    if (Path(directory) / "job.json").exists():  # not where another machine measured it
        try:
            references = JobFiles.of(directory).read_job().references
        except RecordError as error:
            warn(f"{error}; this is a new job, and that directory stays as it is")
            return None
    return replace(
        job,
        job_id=job_id,
        sweep_id=sweep_id,
        run_id=before.run_id,
        directory=str(directory),
        references=references,
    )


def _kept_apart(job: Job, outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """The outcomes with processes numbered so that rounds of different jobs do not look like neighbours."""
    taken: list[Outcome] = []
    first_of = {job.job_id: 0}
    width = 1 + max((_last_process(each) for each in (*outcomes, *job.references)), default=-1)
    for outcome in outcomes:
        owner = outcome.job_id or job.job_id
        first_of.setdefault(owner, width * len(first_of))
        taken.append(_renumbered(outcome, first_of[owner], None if owner == job.job_id else owner))
    return tuple(taken)


def _renumbered(outcome: Outcome, first: int, owner: str | None) -> Outcome:
    measured = outcome.measurement
    if measured and first:
        rounds = tuple(replace(each, replicate=first + each.replicate) for each in measured.rounds)
        measured = replace(measured, rounds=rounds)
    return replace(outcome, measurement=measured, job_id=owner)


def _last_process(outcome: Outcome) -> int:
    rounds = outcome.measurement.rounds if outcome.measurement else ()
    return max((each.replicate for each in rounds), default=-1)


def is_open(outcome: Outcome) -> bool:
    """Return whether it says nothing about the conversion: it was interrupted, or the machine was in trouble."""
    machines = outcome.failure is not None and outcome.failure.kind is FailureKind.MACHINE
    return outcome.interrupted or machines


def _to_evaluate(job: Job, outcome: Outcome) -> bool:
    """Whether the job asks for figures of quality, and the outcome has none, or those of other samples or labels."""
    measured = outcome.measurement
    if job.evaluate is None or measured is None:
        return False
    wanted, digest = job.prepared.quality_digest if job.prepared else None, measured.quality_digest
    other = digest not in {None, wanted}  # older results have no digest
    return measured.quality_error is not None or (counts(outcome) and other)


def _as_asked(job: Job, outcome: Outcome) -> Outcome:
    """Return the outcome without figures of quality where the job asks for none."""
    if job.evaluate or outcome.measurement is None:
        return outcome
    bare = replace(
        outcome.measurement,
        quality={},
        quality_drops={},
        quality_samples=None,
        quality_digest=None,
        quality_error=None,
        evaluate_s=None,
    )
    return replace(outcome, measurement=bare)


def _failed(outcome: Outcome) -> bool:
    return outcome.status is Status.FAILED


def _counts(outcome: Outcome | None) -> bool:
    return outcome is not None and counts(outcome)
