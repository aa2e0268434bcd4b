"""``almaflow export``: a converted model as a folder that works without almaflow, and as an MLflow model."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from almaflow.errors import TrackingError
from almaflow.tracking.uris import display_uri, resolve_uri

if TYPE_CHECKING:
    from almaflow.jobs.kept_check import Checked
    from almaflow.jobs.kept_export import Exported
    from almaflow.tracking.converted_models import ModelFiles


@click.command()
@click.argument("job")
@click.argument("conversion", required=False)
@click.option("--to", type=click.Path(path_type=Path), metavar="DIR", help="A new or empty directory.")
@click.option("--register", metavar="NAME", help="Register it as a version of this model in MLflow.")
@click.option("--alias", metavar="ALIAS", help="With --register: an alias that names this version from now on.")
@click.option("--no-check", is_flag=True, help="Do not run the example in a fresh process afterwards.")
@click.option("--uri", help="MLflow store or server of the job.  [default: the job's own]")
def export(  # noqa: PLR0913 - one for each option
    job: str,
    conversion: str | None,
    to: Path | None,
    *,
    register: str | None,
    alias: str | None,
    no_check: bool,
    uri: str | None,
) -> int:
    """Write a converted model of JOB, the ID of a job or of its run, as a folder that works without almaflow.

    CONVERSION is one of those that the job has kept (keep=best, all or a list of names); the fastest where it is left
    out. With --register it becomes an MLflow model, with or without a folder. Exit code 1 where the exported model does
    not answer as it did when it was measured; then it is not registered.
    """
    from almaflow.jobs.files import JobFiles
    from almaflow.jobs.kept_check import checked
    from almaflow.jobs.kept_export import export_kept, job_of, kept_model, store_of
    from almaflow.jobs.model_logging import model_files
    from almaflow.tracking.converted_models import check_registration

    if to is None and register is None:
        message = "name --to DIR for a folder, --register NAME for an MLflow model, or both"
        raise click.UsageError(message)
    if alias is not None and register is None:
        message = "--alias names a version of --register NAME"
        raise click.UsageError(message)
    found, named = job_of(job, resolve_uri(uri))
    store = store_of(found, uri)
    exported = kept_model(found, conversion or named)
    model = None
    if register is not None:
        model = model_files(exported)
        check_registration(store, register, alias, model.run_id)
    if to is not None:
        exported = export_kept(found, conversion or named, to)
    _tell(exported, to)
    if not no_check:
        click.echo(f"Checked in a fresh process: {_line(exported, checked(exported, store, _say))}")
    if model and register:
        with JobFiles.of(found.directory).locked():  # a sync may log the same model
            _register(model, store, register, alias)
    return 0


def _say(line: str) -> None:
    click.echo(line, err=True)


def _tell(exported: Exported, to: Path | None) -> None:
    from almaflow.report.terminal import size

    made = exported.export
    click.echo(f"{made.conversion} of {made.model}, {size(made.size_mb)}{f': {to}' if to else ''}")
    if made.builder:
        whose = "almaflow" if made.builder.startswith("almaflow.") else "your code"
        click.echo(f"It needs {whose}: load.py calls {made.builder}")


def _line(exported: Exported, checked: Checked) -> str:
    made = exported.export
    floating = [each for each in made.outputs if "float" in each.dtype or "complex" in each.dtype]
    if not made.comparable:
        outputs = "outputs of the right shapes"
    elif checked.sqnr_db is not None:
        outputs = f"outputs equal the job's, SQNR {checked.sqnr_db:.0f} dB"
    elif floating:
        outputs = f"{'' if len(floating) == len(made.outputs) else 'floating '}outputs equal the job's to the bit"
    else:
        outputs = f"outputs equal the job's in {100 * made.least_equal:.4g}% of the elements or more"
    ratio = f", {checked.floor_ratio:.2f} times the job's" if checked.floor_ratio else ""
    return (
        f"{outputs}; loaded in {checked.load_s:.2f} s, first call {checked.first_call_s:.3g} s, "
        f"floor of {checked.calls} calls {checked.floor_ms:.3g} ms{ratio}"
    )


def _register(model: ModelFiles, store: str, name: str, alias: str | None) -> None:
    """Log the model, register it, and show how it is served.

    Raises:
        TrackingError: the store cannot be written, or the run of the conversion was deleted.
    """
    from almaflow.tracking.converted_models import log_model, register_model

    model_id = log_model(store, model)
    if model_id is None:
        message = f"{model.export.conversion}: its run {model.run_id} was deleted; restore it in MLflow's pages"
        raise TrackingError(message)
    version = register_model(store, model_id, name, alias)
    click.echo(f"Registered as version {version} of {name}{f', alias {alias}' if alias else ''}")
    command = ["mlflow", "models", "serve", "--env-manager", "local", "--host", "127.0.0.1"]
    command += ["--model-uri", f"models:/{name}{f'@{alias}' if alias else f'/{version}'}"]
    known = os.environ.get("MLFLOW_TRACKING_URI") == store
    where = "" if known else f"MLFLOW_TRACKING_URI={shlex.quote(display_uri(store))} "
    click.echo(f"Serve it: {where}{shlex.join(command)}")
