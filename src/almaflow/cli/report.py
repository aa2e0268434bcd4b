"""``almaflow report``: the document of a job or a sweep."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import click

from almaflow.errors import AlmaflowError, UsageError
from almaflow.tracking.uris import resolve_uri

MOST_NAMED = 4
"""Models that a document's heading names."""


@click.command()
@click.argument("what", required=False)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write.  [default: ID.html]")
@click.option("--title", help="What the document is called.  [default: what was measured]")
@click.option("--uri", help="MLflow store or server to read.  [default: the one that `almaflow run` writes to]")
def report(what: str | None, output: Path | None, title: str | None, uri: str | None) -> None:
    """Write one HTML file about WHAT, the ID of a job, a sweep or a profile; the newest job where it is left out."""
    from almaflow.profiles.files import MeasuredFiles

    if profile := MeasuredFiles.named(what):
        from almaflow.profiles.report import ProfileReport
        from almaflow.report.profile_page import profile_page

        data = ProfileReport.of(profile.recorded.root).data
        _written(output or Path(f"{data['profile_id']}.html"), profile_page(data, title))
        return
    name, text = _of_job(what, title, resolve_uri(uri))
    _written(output or Path(f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)}.html"), text)  # a store may hold any name


def _of_job(what: str | None, title: str | None, uri: str) -> tuple[str, str]:
    """Return the ID of a job or a sweep, and its document."""
    from almaflow.report.html_page import document
    from almaflow.tracking.reader import outputs_of

    with tempfile.TemporaryDirectory(prefix="almaflow-") as scratch:
        job_or_sweep = outputs_of(uri, what, scratch)
    if job_or_sweep is None or not job_or_sweep[1]:
        message = f"{what or 'report'}: no such job or sweep with a result in this store"
        raise UsageError(message)
    name, outputs = job_or_sweep
    models = list(dict.fromkeys(each["model"] for each in outputs))
    named = ", ".join(models) if len(models) <= MOST_NAMED else f"{len(models)} models"
    return name, document(title or f"{named} on {outputs[0]['hardware']}", outputs)


def _written(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"{path}: cannot be written ({error.strerror})"
        raise AlmaflowError(message) from error
    click.echo(str(path))
