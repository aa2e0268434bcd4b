"""Logs the converted models that a job has kept as MLflow models, as ``log_models`` says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from almaflow.analysis import analyse
from almaflow.conversions.exports import check
from almaflow.errors import TrackingError
from almaflow.jobs.keep_setting import BEST, NONE
from almaflow.jobs.kept_export import Exported
from almaflow.records.export import kept_exports
from almaflow.report.export_readme import export_readme
from almaflow.tracking.converted_models import ModelFiles, log_model
from almaflow.tracking.store import answers

if TYPE_CHECKING:
    from almaflow.errors import RecordError
    from almaflow.records import Job


def log_kept(job: Job, uri: str) -> None:
    """Log what the setting of a job asks for; models that the store has already stay as they are.

    Args:
        job: The job at its end, with the IDs of its runs.
        uri: A resolved store.

    Raises:
        TrackingError: models could not be logged; the others are, unless the store has ceased to answer.
    """
    damaged: list[RecordError] = []
    wanted = to_log(job, damaged)
    why_not = [f"{each}; it is not logged as a model until its directory is removed" for each in damaged]
    for exported in wanted:
        try:
            log_model(uri, model_files(exported))
        except TrackingError as error:
            if not answers(uri):
                raise
            why_not.append(str(error))
    if why_not:
        raise TrackingError("; ".join(why_not))


def told(job: Job) -> str:
    """Return what a job whose models were logged says of them; nothing where it asks for none."""
    if names := [each.export.conversion for each in to_log(job)]:
        return f"logged as MLflow models: {', '.join(names)}"
    asked = _asked(job)
    return "" if asked == NONE else f"log_models={asked}: no converted model of this job is on disk, so none is logged"


def _asked(job: Job) -> str:
    return str(job.config.get("log_models", NONE))


def to_log(job: Job, damaged: list[RecordError] | None = None) -> list[Exported]:
    """Return the kept models that a job's setting asks for, the fastest first.

    Args:
        job: The job.
        damaged: Gets the error of each kept model whose description cannot be read. Where only the best is asked for
            none is returned then, since that one may be the best.
    """
    asked = _asked(job)
    if asked == NONE:
        return []
    damaged = [] if damaged is None else damaged
    kept = kept_exports(job.directory, damaged)
    analysis = analyse(job)
    rows = [row for row in analysis.rows if row.counts and row.name in kept and row.outcome.run_id]
    if asked == BEST:
        ranked = [name for name in analysis.ranked if name in kept]
        rows = [row for row in rows if row.name in ranked[:1] and not damaged]
    return [Exported(*kept[row.name], job, row) for row in rows]


def waits(job: Job) -> bool:
    """Whether models are to be logged, or cannot be found out for a damaged one, of which ``log_kept`` tells."""
    damaged: list[RecordError] = []
    return bool(to_log(job, damaged) or damaged)


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
    return ModelFiles(run_id, exported.directory, exported.export, readme, Path(str(check.__file__)))
