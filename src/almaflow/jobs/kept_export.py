"""Exports a converted model that a job has kept, to a folder that works without almaflow."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.analysis import analyse
from almaflow.analysis.rows import make_row
from almaflow.conversions.catalogue.formats import export_format
from almaflow.conversions.catalogue.names import resolve
from almaflow.errors import AlmaflowError, RecordError, UsageError
from almaflow.jobs.files import JobFiles
from almaflow.records import write_json
from almaflow.records.export import EXPORT_FILE, LEAST_EQUAL, kept_exports, tolerance_db
from almaflow.report.export_readme import export_readme
from almaflow.tracking.reader import runs_of
from almaflow.tracking.uris import display_uri, resolve_uri

if TYPE_CHECKING:
    from almaflow.analysis import Row
    from almaflow.records import Job
    from almaflow.records.export import Export

_NONE = {False: "no conversion gave a figure that counts", True: "no conversion keeps to the job's limits"}
"""Why there is no best conversion, by whether the job was given limits."""
_BESIDE_EAGER = {50.0: "float32", 25.0: "float16", 15.0: "bfloat16", 8.0: "int8", 3.0: "int4"}
"""The arithmetic of a model that an older almaflow kept, by the SQNR in dB against eager that its check asked for."""


@dataclass(frozen=True)
class Exported:
    """A folder that was written, and what was measured of the model in it."""

    directory: Path
    export: Export
    job: Job
    row: Row


def job_of(named: str, uri: str) -> tuple[Job, str | None]:
    """Return a job of this machine, and the conversion whose run was named.

    Args:
        named: The ID of a job, or of its run, or of a run of one of its conversions.
        uri: A resolved store, which is read where the ID is not that of a job in almaflow's home.

    Raises:
        UsageError: there is no such job, or its files are not on this machine.
        TrackingError: the store cannot be reached or read.
    """
    jobs, conversion = machine.home() / "jobs", None
    directory = jobs / named
    if Path(named).name != named or not directory.is_dir():
        runs = runs_of(uri, named)
        ids = {run.tags.get("almaflow.job_id", "") for run in runs}
        if not ids:
            message = f"{named}: there is no such job, neither in {jobs} nor in the store"
            raise UsageError(message)
        if len(ids) > 1:
            message = f"{named}: is a sweep of {len(ids)} jobs; name one of them: {', '.join(sorted(ids))}"
            raise UsageError(message)
        directory = jobs / Path(ids.pop()).name  # a tag of a store, which others may write
        conversion = runs[0].params.get("conversion") if runs[0].run_id == named else None
    if not (directory / "job.json").is_file():
        message = f"{named}: {directory} is not on this machine, or is empty; export it where it was measured"
        raise UsageError(message)
    return JobFiles.of(directory).read_job(), conversion


def store_of(job: Job, uri: str | None) -> str:
    """Return the resolved store of a job; what its record tells of it has no credentials, which the default has."""
    default = resolve_uri(uri)
    return default if uri or not job.store or job.store == display_uri(default) else job.store


def kept_model(job: Job, conversion: str | None) -> Exported:
    """Return a converted model that the job has kept, where it is.

    Args:
        job: The job.
        conversion: A name or an alias; None for the best that is kept, by ``Analysis.ranked``.

    Raises:
        UsageError: the conversion is not kept.
    """
    unreadable: list[RecordError] = []
    kept = kept_exports(job.directory, unreadable)
    name = _chosen(job, conversion, frozenset(kept), "".join(f"; {each}" for each in unreadable))
    row = make_row(job, next(each for each in job.outcomes if each.planned.name == name))
    directory, export = kept[name]
    return Exported(directory, _brought_up_to_date(directory, export), job, row)


def export_kept(job: Job, conversion: str | None, to: Path) -> Exported:
    """Write a folder with a converted model that the job has kept.

    Args:
        job: The job.
        conversion: A name or an alias; None for the best that is kept: under the job's limits, or else the fastest.
        to: A directory that is empty or does not exist.

    Raises:
        UsageError: the conversion is not kept, or ``to`` is not empty.
        AlmaflowError: the folder cannot be written; then nothing of it is left.
    """
    found = kept_model(job, conversion)
    if to.is_symlink() or (to.exists() and not to.is_dir()) or (to.is_dir() and any(to.iterdir())):
        message = f"--to {to}: is there already, and is not an empty directory; name a new one"
        raise UsageError(message)
    existed = to.is_dir()
    try:
        shutil.copytree(found.directory, to, dirs_exist_ok=True)
        (to / "README.md").write_text(export_readme(found.export, job, found.row), encoding="utf-8")
    except OSError as error:  # copytree gathers those of single files
        _remove_half(to, existed=existed)
        message = f"--to {to}: cannot be written ({error.strerror or 'the disk may be full'}); nothing is left there"
        raise AlmaflowError(message) from error
    except BaseException:  # an interrupt
        _remove_half(to, existed=existed)
        raise
    return replace(found, directory=to)


def _brought_up_to_date(directory: Path, export: Export) -> Export:
    """Give a model that an older almaflow kept the check and the limits of today.

    Raises:
        AlmaflowError: its directory cannot be written.
    """
    source = files("almaflow.conversions.exports").joinpath("check.py").read_bytes()
    try:
        if (directory / "check.py").read_bytes() != source:
            (directory / "check.py").write_bytes(source)
        if export.arithmetic is None and (arithmetic := _BESIDE_EAGER.get(export.tolerance_db)):
            least_db = tolerance_db(arithmetic, compiles=export.compiles)
            export = replace(export, tolerance_db=least_db, least_equal=LEAST_EQUAL, arithmetic=arithmetic)
            write_json(directory / EXPORT_FILE, export)
    except OSError as error:
        message = f"{directory}: cannot be brought up to date ({error.strerror or error})"
        raise AlmaflowError(message) from error
    return export


def _remove_half(to: Path, *, existed: bool) -> None:
    """Remove what was written to a directory, and the directory unless it was there before."""
    with suppress(OSError):
        for path in list(to.iterdir()):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        if not existed:
            to.rmdir()


def _chosen(job: Job, conversion: str | None, kept: frozenset[str], damaged: str) -> str:
    """Return the name of a conversion that is kept; what is said of damaged ones goes into the error.

    Raises:
        UsageError: it is not kept, or nothing is.
    """
    ranked = analyse(job).ranked
    if conversion is None:
        if not kept:
            first = ranked[0] if ranked else None
            why = _why_not(job, first) if first else _NONE[job.choose.asked]
            message = f"{job.job_id}: the job has kept no converted model: {why}{damaged}"
            raise UsageError(message)
        if found := next((name for name in ranked if name in kept), None):
            return found
        message = f"{job.job_id}: nothing that is kept may be recommended; name one of {', '.join(sorted(kept))}"
        raise UsageError(message)
    ((_, entry),) = resolve([conversion], "CONVERSION")
    if entry.name not in kept:
        also = f"; kept are {', '.join(sorted(kept))}" if kept else ""
        message = f"{entry.name}: {_why_not(job, entry.name)}{also}{damaged}"
        raise UsageError(message)
    return entry.name


def _why_not(job: Job, name: str) -> str:
    """Return why a conversion's model is not there, and what to do."""
    outcome = next((each for each in job.outcomes if each.planned.name == name), None)
    if outcome is None:
        return f"the job did not run it; it ran {', '.join(each.planned.name for each in job.outcomes)}"
    if reason := export_format(outcome.planned, job.model).reason:
        return f"it cannot be exported: {reason}"
    if message := make_row(job, outcome).message:
        return f"nothing that works could be kept: {message}"
    if outcome.measurement and outcome.measurement.not_kept:
        return f"it could not be kept: {outcome.measurement.not_kept}"
    if outcome.job_id and outcome.job_id != job.job_id:
        return f"job {outcome.job_id} measured it: export it from there"
    return f"it was not kept; run the job with keep=[{name}] or keep=all"
