"""``almaflow export``: a converted model as a folder that works without almaflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from almaflow.jobs.kept_check import Checked
    from almaflow.jobs.kept_export import Exported


@click.command()
@click.argument("job")
@click.argument("conversion", required=False)
@click.option("--to", required=True, type=click.Path(path_type=Path), metavar="DIR", help="A new or empty directory.")
@click.option("--no-check", is_flag=True, help="Do not run the example in a fresh process afterwards.")
@click.option("--uri", help="MLflow store or server of the job.  [default: the job's own]")
def export(job: str, conversion: str | None, to: Path, *, no_check: bool, uri: str | None) -> int:
    """Write a converted model of JOB, the ID of a job or of its run, as a folder that works without almaflow.

    CONVERSION is one of those that the job has kept (keep=best, all or a list of names); the fastest where it is left
    out. Exit code 1 where the exported model does not answer as it did when it was measured.
    """
    from almaflow.jobs.kept_export import export_kept, job_of, store_of
    from almaflow.report.terminal import size

    found, named = job_of(job, resolve_uri(uri))
    exported = export_kept(found, conversion or named, to)
    made = exported.export
    click.echo(f"{made.conversion} of {made.model}, {size(made.size_mb)}: {to}")
    if made.builder:
        click.echo(f"It needs your code: load.py calls {made.builder}")
    if not no_check:
        _check(exported, store_of(found, uri))
    return 0


def _check(exported: Exported, store: str) -> None:
    """Check the folder while nothing else measures here, write what was found to the store, and show it."""
    from almaflow.jobs.kept_check import checked

    found = checked(exported, store, lambda line: click.echo(line, err=True))
    click.echo(f"Checked in a fresh process: {_line(exported, found)}")


def _line(exported: Exported, checked: Checked) -> str:
    made = exported.export
    equal = "outputs equal the job's" + (
        " to the bit" if checked.sqnr_db is None else f", SQNR {checked.sqnr_db:.0f} dB"
    )
    outputs = equal if made.comparable else "outputs of the right shapes"
    ratio = f", {checked.floor_ratio:.2f} times the job's" if checked.floor_ratio else ""
    return (
        f"{outputs}; loaded in {checked.load_s:.2f} s, first call {checked.first_call_s:.3g} s, "
        f"floor of {checked.calls} calls {checked.floor_ms:.3g} ms{ratio}"
    )
