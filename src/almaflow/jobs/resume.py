"""Finds out what the store already has of a job, so that only the rest is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.analysis import EAGER, INDUCTOR, counts
from almaflow.conversions.catalogue.plan import with_traits
from almaflow.jobs.files import JobFiles
from almaflow.jobs.sync import sync
from almaflow.records import Status
from almaflow.tracking.resumable import earlier_job, earlier_results, not_taken

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def resume(job: Job, plan: Sequence[PlannedConversion], uri: str, *, failures_only: bool) -> Resumed:
    """Find out what of a prepared job the store has, under the same fingerprint and measured as this one would be.

    What was measured and has not reached the store is written there first.

    Args:
        job: A new job, prepared.
        plan: Its conversions.
        uri: A resolved store.
        failures_only: Measure again what failed, and nothing else; otherwise measure what the store does not have.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    for _ in sync(uri):
        pass
    found = {name: with_traits(each) for name, each in earlier_results(job, plan, uri).items()}
    retried = {name for name, each in found.items() if each.interrupted or (failures_only and _failed(each))}
    known = {name: each for name, each in found.items() if name not in retried}
    to_measure = [each for each in plan if each.name in retried or (not failures_only and each.name not in known)]
    before = earlier_job(job, uri)
    needs_closing = False
    if before:
        job = _going_on(job, before)
        needs_closing = before.tags.get("almaflow.status") != Status.OK
    taken = _kept_apart(job, [known[each.name] for each in plan if each.name in known])
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


def _going_on(job: Job, before: StoredRun) -> Job:
    """The new attempt as a part of the earlier job."""
    job_id, sweep_id = before.tags["almaflow.job_id"], before.tags.get("almaflow.sweep_id")
    directory = machine.home() / "jobs" / job_id
    references: tuple[Outcome, ...] = ()
    if (Path(directory) / "job.json").exists():  # not where another machine measured it
        references = JobFiles.of(directory).read_job().references
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


def _failed(outcome: Outcome) -> bool:
    return outcome.status is Status.FAILED


def _counts(outcome: Outcome | None) -> bool:
    return outcome is not None and counts(outcome)
