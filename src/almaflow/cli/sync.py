"""``almaflow sync``: results that the store missed, written to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from almaflow.errors import AlmaflowError
from almaflow.tracking.uris import display_uri, resolve_uri

if TYPE_CHECKING:
    from almaflow.jobs.sync import Synced


@click.command()
@click.option("--uri", help="MLflow store or server to write to.  [default: the one that `almaflow run` writes to]")
def sync(uri: str | None) -> int:
    """Write to the store what it missed while it could not be reached, each result once.

    Exit code 1 where anything that was measured could not be written; the rest is written all the same.
    """
    from almaflow.jobs import sync as recording
    from almaflow.profiles.track import track, untracked
    from almaflow.sweeps import record as sweeping

    uri = resolve_uri(uri)
    failed = count = 0
    for done in recording.sync(uri):
        count += 1
        failed += bool(done.why_not)
        click.echo(_line(done), err=bool(done.why_not))
    for files in sweeping.untracked():
        sweep = files.read()
        summary = sweeping.end(files, interrupted=sweep.interrupted or sweep.ended_at is None)
        try:
            sweeping.track(files, summary)
            click.echo(f"sweep {sweep.sweep_id}, {len(summary.rows)} jobs: written")
        except AlmaflowError as error:
            failed += 1
            click.echo(f"sweep {sweep.sweep_id}: not written: {error}", err=True)
    for profile in untracked(uri):
        name = profile.recorded.root.name
        try:
            track(profile, uri)
            click.echo(f"profile {name}: written")
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one profile, the others are written
            failed += 1
            what = str(error) if isinstance(error, AlmaflowError) else f"{type(error).__name__}: {error}"
            click.echo(f"profile {name}: not written: {what}", err=True)
    others = sorted({job.store for _, job in recording.pending() if job.store and job.store != display_uri(uri)})
    if not count:
        click.echo(f"{display_uri(uri)} has everything that was measured for it.")
    for store in others:
        click.echo(f"Jobs still wait for another store: almaflow sync --uri {store}")
    return 1 if failed else 0


def _line(done: Synced) -> str:
    """Return the line about one job: what it is where its record can be read, and what became of it."""
    job = done.job
    if job is None:
        return f"{done.directory.name}: not written: {done.why_not}"
    what = f"{job.model.name} b{job.model.batch_size}, job {job.job_id}, {len(job.outcomes)} conversions"
    if done.why_not is None:
        return f"{what}: written" if job.run_id else f"{what}: its runs were deleted from the store, and stay so"
    kept = f"; {done.directory} keeps it for the next `almaflow sync`"
    return f"{what}: not written: {done.why_not}{'' if str(done.directory) in done.why_not else kept}"
