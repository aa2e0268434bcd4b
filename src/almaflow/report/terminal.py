"""Lines and the table that a job prints on stdout before it begins and when it is done."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from almaflow.analysis import analyse
from almaflow.conversions.catalogue.formats import export_format
from almaflow.records.export import kept_exports
from almaflow.report.console import JobConsole
from almaflow.report.table import render
from almaflow.tracking.uris import display_uri, resolve_uri

if TYPE_CHECKING:
    from rich.console import Console

    from almaflow.errors import RecordError
    from almaflow.records import Job


def announce(uri: str, experiment_name: str) -> None:
    """Print the store's address and the experiment, before anything else."""
    _line(JobConsole(), f"MLflow store: {display_uri(uri)}, experiment {experiment_name}")


def show_table(job: Job) -> None:
    """Print the table and the verdict."""
    console = JobConsole()
    console.print()
    render(job, analyse(job), console)
    console.print()


def show_places(uri: str, job: Job) -> None:
    """Print where the files are, and the command that shows the runs."""
    console = JobConsole()
    if Path(job.directory).exists():  # there is none if other jobs had all the results
        _line(console, f"Files: {job.directory}")
        for line in kept_lines(job):
            _line(console, line)
    if not job.tracked:
        _line(console, f"Not all of it is in the store yet: {shlex.join([*_almaflow(), 'sync', *_chosen(uri)])}")
    _line(console, f"Open the runs in the MLflow UI: {ui_command(uri)}")


def kept_lines(job: Job) -> list[str]:
    """Return which converted models were kept, how large they are, and the command that exports the best."""
    unreadable: list[RecordError] = []
    kept = kept_exports(job.directory, unreadable)
    damaged = [f"Kept: damaged: {error}" for error in unreadable]
    ranked = analyse(job).ranked
    lacking = _not_kept(ranked[0], job) if ranked and ranked[0] not in kept else ""
    if not kept:
        return [f"Kept: nothing{lacking}", *damaged] if lacking else damaged
    best = next((name for name in ranked if name in kept), "CONVERSION")
    size_mb = sum(export.size_mb for _, export in kept.values())
    named = best if len(kept) == 1 else f"{len(kept)} converted models"
    command = shlex.join([*_almaflow(), "export", job.job_id, best, "--to", "DIR"])
    return [f"Kept: {named}, {size(size_mb)}; as a folder that works by itself: {command}{lacking}", *damaged]


def size(megabytes: float) -> str:
    """Return the size of files as text, in kB where they are small."""
    return f"{megabytes:.1f} MB" if megabytes >= 0.1 else f"{1000 * megabytes:.3g} kB"  # noqa: PLR2004 - a tenth


def _not_kept(name: str, job: Job) -> str:
    """Return why the best conversion is not among those that are kept; nothing where it was not to be."""
    outcome = next(each for each in job.outcomes if each.planned.name == name)
    reason = export_format(outcome.planned, job.model).reason
    if reason is None and outcome.measurement:
        reason = outcome.measurement.not_kept
    best = "chosen one" if job.choose.asked else "fastest"
    to_be_kept = str(job.config.get("keep", "none") or "best").lower() != "none"
    return f" ({name} is the {best}, and not kept: {reason})" if reason and to_be_kept else ""


def ui_command(uri: str) -> str:
    """Return the command that opens the MLflow UI on this store, as it is called from here."""
    return shlex.join([*_almaflow(), "ui", *_chosen(uri)])


def _chosen(uri: str) -> list[str]:
    return [] if uri == resolve_uri(None) else ["--uri", display_uri(uri)]


def _almaflow() -> list[str]:
    """Return the words that call this very almaflow: its name if the shell finds it by that, else its path."""
    script = Path(sys.executable).with_name("almaflow")
    if not script.exists():
        return [sys.executable, "-m", "almaflow"]
    on_path = shutil.which("almaflow")
    if on_path and Path(on_path).samefile(script):
        return ["almaflow"]
    here = Path.cwd()
    return [str(script.relative_to(here) if script.is_relative_to(here) else script)]


def _line(console: Console, text: str) -> None:
    """Print a line unbroken, so that it can be copied."""
    console.print(Text(text), soft_wrap=True)
