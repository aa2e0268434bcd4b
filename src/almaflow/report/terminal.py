"""Lines and the table that a job prints on stdout before it begins and when it is done."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from almaflow.analysis import analyse
from almaflow.report.console import JobConsole
from almaflow.report.table import render
from almaflow.tracking.uris import display_uri, resolve_uri

if TYPE_CHECKING:
    from rich.console import Console

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
    if not job.tracked:
        _line(console, f"Not all of it is in the store yet: {shlex.join([*_almaflow(), 'sync', *_chosen(uri)])}")
    _line(console, f"Open the runs in the MLflow UI: {ui_command(uri)}")


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
