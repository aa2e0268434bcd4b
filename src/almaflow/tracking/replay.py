"""Write the results of a job that the store lacks. Doing so again writes nothing twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from almaflow.tracking.artifacts import copy_to, has
from almaflow.tracking.converted_models import discard_models_of
from almaflow.tracking.figures import milliseconds
from almaflow.tracking.fingerprints import logical_key
from almaflow.tracking.session import session
from almaflow.tracking.store import experiments, prepare, search
from almaflow.tracking.writer import Tracker, mark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlflow import MlflowClient
    from mlflow.entities import Run

    from almaflow.records import Job, Outcome

OUTCOME = "outcome.json"
"""The artifact that every conversion's run has."""


@dataclass(frozen=True)
class Result:
    """One conversion as it lies on disk."""

    outcome: Outcome
    metrics: Mapping[str, float]
    directory: Path
    """The directory whose files become the run's artifacts."""
    note: str = ""
    """The result in one line."""
    marks: Mapping[str, str] = field(default_factory=dict)
    """Those of ``schema.MARKS`` that it has."""


def catch_up(uri: str, job: Job, results: Sequence[Result]) -> tuple[Tracker | None, dict[str, str]]:
    """Write the results that the store lacks or has by half, and delete runs that are there twice.

    A result is recognised by its logical key and its start. A lost connection leaves a run that was created and never
    ended; a run that began at another time was measured again since (``resume``), unless the files are an older copy
    of what the store has. MLflow keeps what is deleted here until ``mlflow gc``.

    The IDs of runs on disk are hints. A store that does not know them, since it was made anew or restored from a copy,
    gets all results again. A result whose run somebody deleted stays deleted, and the job's own run too where no
    result is left.

    Args:
        uri: A resolved store.
        job: The job. Its own run is created where the store has none.
        results: All results that the job measured itself.

    Returns:
        The job's tracker, to be closed, or None where all runs were deleted; and the run ID of every result by the
        conversion's name.

    Raises:
        TrackingError: the store cannot be reached or written; trying again later does no harm.
        UsageError: the job's experiment was deleted.
    """
    experiment_id = prepare(uri, job.experiment_name)
    with session(uri, "results could not be written", f"they are kept in {job.directory}") as client:
        where = f"tags.`almaflow.job_id` = '{job.job_id}'"
        everywhere = list(experiments(client))  # somebody may have renamed the job's own
        runs = list(search(client, everywhere, where))
        own = [run for run in runs if run.data.tags.get("almaflow.kind") == "job"]
        own.sort(key=lambda run: run.info.run_id != job.run_id)
        for run in own[1:]:
            client.delete_run(run.info.run_id)
        named = {each.outcome.planned.name: each.outcome.run_id for each in results}
        gone: set[str] = set()
        if {job.run_id, *named.values()} - {None, *(run.info.run_id for run in runs)}:
            gone = {run.info.run_id for run in search(client, everywhere, where, deleted=True)}
        written = {name: run_id for name, run_id in named.items() if run_id in gone}
        if not own and job.run_id in gone and len(written) == len(results):
            return None, written
        if own:
            tracker = Tracker(uri, own[0].info.experiment_id, own[0].info.run_id)
        else:
            experiment_id = next((run.info.experiment_id for run in runs), experiment_id)
            tracker = Tracker(uri, experiment_id, Tracker.create(client, experiment_id, job))
        for result in results:
            key, name = logical_key(job, result.outcome), result.outcome.planned.name
            same = [run for run in runs if run.data.tags.get("almaflow.logical_key") == key]
            whole = next((run for run in same if _is_whole(run, result.outcome)), None)
            better = next((run for run in same if not whole and _is_better(run, result.outcome)), None)
            for run in same:
                if run is not whole and run is not better:
                    discard_models_of(client, run)  # they would be ranked beside what was measured again
                    client.delete_run(run.info.run_id)
            if better:
                written[name] = better.info.run_id
            elif whole or name not in written:
                written[name] = _complete(tracker, client, job, result, whole)
    return tracker, written


def _complete(tracker: Tracker, client: MlflowClient, job: Job, result: Result, run: Run | None) -> str:
    """Write the result, or what its run lacks: later figures and marks, and files that could not be copied."""
    if run is None:
        run_id = tracker.log_outcome(job, result.outcome, result.metrics, result.directory, result.note)
        mark(client, run_id, {}, result.marks)
        return run_id
    run_id = str(run.info.run_id)
    if run.data.tags.get("almaflow.job_run_id") != tracker.run_id:  # the job's own run was made anew
        client.set_tag(run_id, "almaflow.job_run_id", tracker.run_id)
    lacking = {name: result.metrics[name] for name in result.metrics.keys() - run.data.metrics.keys()}
    if lacking:
        tracker.add_metrics(run_id, job, result.outcome, lacking, result.note)
    mark(client, run_id, run.data.tags, result.marks)
    if not has(client, run_id, OUTCOME):
        copy_to(client, run_id, result.directory)
    return run_id


def mark_again(uri: str, marks: Mapping[str, Mapping[str, str]]) -> None:
    """Give runs other marks: a job that is asked for again may choose otherwise from what it measured.

    Args:
        uri: A resolved store.
        marks: Those of ``schema.MARKS`` that each run has, by its ID.

    Raises:
        TrackingError: the store cannot be reached or written.
    """
    with session(uri, "what was chosen could not be written") as client:
        for run_id, found in marks.items():
            mark(client, run_id, client.get_run(run_id).data.tags, found)


def _is_whole(run: Run, outcome: Outcome) -> bool:
    """Return whether the run holds this very result, and was ended."""
    return run.info.end_time is not None and run.info.start_time == milliseconds(outcome.started_at)


def _is_better(run: Run, outcome: Outcome) -> bool:
    """Return whether the run holds a whole measurement that the files know nothing of: they were put back since."""
    later = run.info.start_time > milliseconds(outcome.started_at)
    return run.info.status == "FINISHED" and run.info.end_time is not None and (outcome.interrupted or later)
