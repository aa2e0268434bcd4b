"""``almaflow sync``: results that the store missed, written to it."""

from __future__ import annotations

import click

from almaflow.errors import AlmaflowError
from almaflow.tracking.uris import display_uri, resolve_uri


@click.command()
@click.option("--uri", help="MLflow store or server to write to.  [default: the one that `almaflow run` writes to]")
def sync(uri: str | None) -> int:
    """Write to the store what it missed while it could not be reached, each result once.

    Exit code 1 where a job could not be written.
    """
    from almaflow.jobs import sync as recording
    from almaflow.sweeps import record as sweeping

    uri = resolve_uri(uri)
    failed = count = 0
    for done in recording.sync(uri):
        count += 1
        what = f"{done.job.model.name} b{done.job.model.batch_size}, job {done.job.job_id}, {done.results} conversions"
        if done.why_not:
            failed += 1
            click.echo(f"{what}: not written: {done.why_not}", err=True)
        else:
            click.echo(f"{what}: written")
    for files in sweeping.untracked():
        sweep = files.read()
        summary = sweeping.end(files, interrupted=sweep.interrupted or sweep.ended_at is None)
        try:
            sweeping.track(files, summary)
            click.echo(f"sweep {sweep.sweep_id}, {len(summary.rows)} jobs: written")
        except AlmaflowError as error:
            failed += 1
            click.echo(f"sweep {sweep.sweep_id}: not written: {error}", err=True)
    others = sorted({job.store for _, job in recording.pending() if job.store and job.store != display_uri(uri)})
    if not count:
        click.echo(f"{display_uri(uri)} has everything that was measured for it.")
    for store in others:
        click.echo(f"Jobs still wait for another store: almaflow sync --uri {store}")
    return 1 if failed else 0
