"""Answers a job that is asked for again from what was measured before: it may keep and choose otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow.analysis import analyse
from almaflow.errors import AlmaflowError
from almaflow.jobs.files import JobFiles
from almaflow.jobs.kept import KeptModels
from almaflow.jobs.model_logging import log_kept, told
from almaflow.records.clock import now
from almaflow.tracking.replay import mark_again
from almaflow.tracking.schema import marks, verdict_tags

if TYPE_CHECKING:
    from almaflow.jobs.context import JobContext
    from almaflow.jobs.resume import Resumed
    from almaflow.records import Job


def answer(context: JobContext, resumed: Resumed) -> Job:
    """Return the job, once its converted models and its marks in the store are as it asks; nothing is measured."""
    job, progress = replace(resumed.job, ended_at=now(), tracked=True), context.progress
    count = len(job.outcomes)
    asked = "the conversion" if count == 1 else f"all {count} conversions"
    progress.note(f"nothing to measure: the store has {asked} that you asked for")
    try:
        if (Path(job.directory) / "job.json").exists():  # measured by a job of this machine with the same plan
            with (files := JobFiles.of(job.directory)).locked():
                # Its limits are those of now, by which its converted models are chosen later.
                files.write_job(replace(files.read_job(), choose=job.choose, evaluate=job.evaluate, config=job.config))
                KeptModels(Path(job.directory), context.request.keep, progress).settle(job)
                log_kept(job, context.request.uri)
        if job.run_id:
            mark_again(context.request.uri, _marks(job))
    except AlmaflowError as error:  # a store that is gone, or another process that has the job in hand
        progress.warn(str(error))
    else:
        if line := told(job):
            progress.note(line)
    progress.measured(job)
    return job


def _marks(job: Job) -> dict[str, dict[str, str]]:
    """Return the marks of the job's run and of its conversions' runs, by their IDs."""
    verdict = analyse(job)
    own = {each.run_id: each.planned.name for each in job.outcomes if each.run_id and each.job_id is None}
    found = {run_id: marks(verdict, name) for run_id, name in own.items()}
    return found | ({job.run_id: verdict_tags(verdict)} if job.run_id else {})
