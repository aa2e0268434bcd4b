"""Made jobs that are in a real store, with their files, as a job leaves them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.support.example_jobs import job, planned

from almaflow import machine
from almaflow.jobs.files import JobFiles
from almaflow.jobs.sync import close_in_store
from almaflow.records import MeasureSpec, ReferenceInfo
from almaflow.tracking.fingerprints import plan_fingerprint
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from almaflow.records import Job, Outcome, PlannedConversion

PREPARED = ReferenceInfo((), (), 11, "digest", "A CPU", {}, 0.1)
PLAN = tuple(planned(name) for name in ("EAGER", "ONNX_CPU", "COMPILE_TVM"))


def new(job_id: str, plan: tuple[PlannedConversion, ...] = PLAN, measure: MeasureSpec | None = None) -> Job:
    directory = machine.home() / "jobs" / job_id
    made = replace(job(), job_id=job_id, directory=str(directory), prepared=PREPARED, measure=measure or MeasureSpec())
    return replace(made, plan_fingerprint=plan_fingerprint(made, plan))


def stored(job_id: str, *outcomes: Outcome, plan: tuple[PlannedConversion, ...] = PLAN, made: Job | None = None) -> Job:
    """A job that was measured and is in the store."""
    made = replace(made or new(job_id, plan), outcomes=outcomes, ended_at=500.0, store="here")
    files = JobFiles.of(made.directory)
    files.create()
    for index, outcome in enumerate(outcomes):
        files.write_outcome(files.conversion_dir(index, outcome.planned), outcome)
    return close_in_store(files, made, resolve_uri(None))
