"""Read the results that the store already has of a job that is about to run."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from almaflow.errors import RecordError
from almaflow.records import FailureKind, Outcome, read_json
from almaflow.tracking.artifacts import fetched
from almaflow.tracking.fingerprints import digests_of, fingerprint, fingerprint_without_digests, measure_params
from almaflow.tracking.reader import MOST_LOOKED_AT, StoredRun, condition, conversion_runs, job_runs
from almaflow.tracking.replay import OUTCOME
from almaflow.tracking.session import session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.records import Job, PlannedConversion


def earlier_results(job: Job, plan: Sequence[PlannedConversion], uri: str) -> dict[str, Outcome]:
    """Return the newest outcome of each planned conversion under the same fingerprint, by the conversion's name.

    Each has the ID of its run and of the job that measured it. An outcome that an older almaflow wrote in another form
    is left out.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    names = {fingerprint(job, each): each.name for each in plan}
    wanted = {"calibration.target": "None"} | measure_params(job)  # without a loader only those that had none
    where = condition({"params.model": job.model.name, "params.batch_size": str(job.model.batch_size)})
    newest: dict[str, StoredRun] = {}
    for run in conversion_runs(uri, job.experiment_name, where):
        name = names.get(run.tags.get("almaflow.fingerprint", ""))
        same = run.ended and all(run.params.get(key, "None") == value for key, value in wanted.items())
        same = same and "almaflow.job_id" in run.tags
        # An interrupted run, or one that failed for the machine's trouble, counts only where there is no other.
        if name and same and (name not in newest or (_is_open(newest[name]) and not _is_open(run))):
            newest[name] = run
    outcomes = {}
    for name, run in newest.items():
        if outcome := stored_outcome(uri, run.run_id):
            outcomes[name] = replace(outcome, run_id=run.run_id, job_id=run.tags["almaflow.job_id"])
    return outcomes


def not_taken(job: Job, plan: Sequence[PlannedConversion], uri: str) -> str | None:
    """Tell which results of the same name are of another model than the job's, by their digests.

    Args:
        job: A new job, prepared.
        plan: The conversions that ``earlier_results`` did not find.
        uri: A resolved store.

    Returns:
        One line; None where there is nothing to tell.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    own = job.prepared.digests if job.prepared else {}
    if not own:
        return None
    unsaid = {fingerprint_without_digests(job, each) for each in plan}
    names, untold, others = {each.name for each in plan}, 0, list[list[str]]()
    where = condition({"params.model": job.model.name, "params.batch_size": str(job.model.batch_size)})
    for run in islice(conversion_runs(uri, job.experiment_name, where), MOST_LOOKED_AT):
        digests = digests_of(run.tags)
        if not digests:
            untold += run.tags.get("almaflow.fingerprint") in unsaid
        elif run.params["conversion"] in names:
            others.append([name for name in sorted({*own, *digests}) if own.get(name) != digests.get(name)])
    told = []
    if other := min(filter(None, others), key=len, default=None):  # of the most similar one
        told += [f"results of {job.model.name} in the store are of another model (other {', '.join(other)})"]
    if untold:
        results = "1 result" if untold == 1 else f"{untold} results"
        told += [f"{results} of an earlier version of almaflow do not say of which code, weights and inputs they are"]
    return f"{'; '.join(told)}: measured again" if told else None


def earlier_job(job: Job, uri: str) -> StoredRun | None:
    """Return the run of the newest job with the same plan; None where there is none.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    where = condition({"tags.`almaflow.plan_fingerprint`": job.plan_fingerprint or ""})
    runs = job_runs(uri, job.experiment_name, where)
    # The ID becomes a directory's name here, and whoever may write to the store may have written it.
    return next((run for run in runs if re.fullmatch(r"[A-Za-z0-9_-]+", run.tags.get("almaflow.job_id", ""))), None)


def _is_open(run: StoredRun) -> bool:
    """Whether it counts only where there is no other: it was interrupted, or the machine was in trouble."""
    return "almaflow.interrupted" in run.tags or run.tags.get("almaflow.failure") == FailureKind.MACHINE


def stored_outcome(uri: str, run_id: str) -> Outcome | None:
    """Return the outcome that a run has among its files; None where it has none, or one that cannot be read.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    with (
        session(uri, "a result could not be read") as client,
        tempfile.TemporaryDirectory(prefix="almaflow-") as directory,
    ):
        path = fetched(client, run_id, OUTCOME, directory)
        try:
            return read_json(path, Outcome) if path else None
        except RecordError:
            return None
