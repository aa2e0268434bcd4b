"""Logs the converted models that a job has kept as MLflow models, as ``log_models`` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.analysis import analyse
from almaflow.errors import RecordError, TrackingError
from almaflow.jobs.keep_setting import BEST, NONE
from almaflow.jobs.kept_export import Exported
from almaflow.records.export import kept_exports
from almaflow.report.export_readme import export_readme
from almaflow.tracking.converted_models import ModelFiles, log_model

if TYPE_CHECKING:
    from almaflow.records import Job


def log_kept(job: Job, uri: str) -> None:
    """Log what the setting of a job asks for; models that the store has already stay as they are.

    Args:
        job: The job at its end, with the IDs of its runs.
        uri: A resolved store.

    Raises:
        TrackingError: a model could not be logged; those before it are.
    """
    try:
        wanted = to_log(job)
    except RecordError as error:
        message = f"{error}; no model is logged until its directory is removed"
        raise TrackingError(message) from error
    for exported in wanted:
        log_model(uri, model_files(exported))


def to_log(job: Job) -> list[Exported]:
    """Return the kept models that a job's setting asks for, the fastest first.

    Raises:
        RecordError: the description of a kept model is damaged, or of a form that is unknown here.
    """
    asked = str(job.config.get("log_models", NONE))
    if asked == NONE:
        return []
    kept = kept_exports(job.directory)
    analysis = analyse(job)
    rows = [row for row in analysis.rows if row.counts and row.name in kept and row.outcome.run_id]
    if asked == BEST:
        ranked = [name for name in analysis.ranked if name in kept]
        rows = [row for row in rows if row.name in ranked[:1]]
    return [Exported(*kept[row.name], job, row) for row in rows]


def model_files(exported: Exported) -> ModelFiles:
    """Return what is logged of a kept model.

    Raises:
        TrackingError: its conversion has no run in the store yet.
    """
    run_id, name = exported.row.outcome.run_id, exported.row.name
    if run_id is None:
        message = f"{name}: its run is not in the store yet, and a model belongs to one: run `almaflow sync` first"
        raise TrackingError(message)
    readme = export_readme(exported.export, exported.job, exported.row)
    return ModelFiles(run_id, exported.directory, exported.export, readme)
