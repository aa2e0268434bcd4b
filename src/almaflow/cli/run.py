"""``almaflow run``: Hydra's grammar and flags in front, the runner behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from almaflow.cli import COMMANDS
from almaflow.errors import AlmaflowError

if TYPE_CHECKING:
    from omegaconf import DictConfig

INTERRUPTED = 130


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(arguments: tuple[str, ...]) -> int:
    """Measure a model through its conversions."""
    import hydra

    from almaflow import config

    completing = arguments[:1] in {("-sc",), ("--shell-completion",)}
    if completing and not _line_to_complete():
        click.echo(" ".join(COMMANDS))
        return 0
    config.register()
    codes: list[int] = []

    def task(cfg: DictConfig) -> None:
        codes.append(_one_job(cfg))
        if codes[-1] == INTERRUPTED:
            raise KeyboardInterrupt

    # Hydra reads sys.argv, and hands errors on instead of printing and exiting when this is set.
    argv, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = ["almaflow" if completing else "almaflow run", *_flags_first(config.quote_numbers(list(arguments)))]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        hydra.main(version_base="1.3", config_path=str(config.conf_dir()), config_name="config")(task)()
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        known = config.explain(error)
        if known is None:
            raise
        if completing:  # half a line is often no right one
            return 0
        raise known from error
    finally:
        sys.argv = argv
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
    return max(codes, default=0)


def _flags_first(arguments: list[str]) -> list[str]:
    """Hydra's parser refuses overrides on both sides of a flag: ``model=simple -m batch_size=1,2``."""
    return sorted(arguments, key=lambda word: not word.startswith("-") and ("=" in word or word.startswith("~")))


def _line_to_complete() -> bool:
    """Give Hydra the line as it would be without ``run``; False where the command is not yet written."""
    from almaflow.config import quote_numbers

    line = os.environ.get("COMP_LINE")
    if line is None:  # the script is asked for, not words
        return True
    program, _, rest = line.lstrip(" ").partition(" ")
    command, space, overrides = rest.lstrip(" ").partition(" ")
    os.environ["COMP_LINE"] = " ".join([program, *quote_numbers(overrides.split(" "))])
    return command == "run" and bool(space)


def _one_job(cfg: DictConfig) -> int:
    """Run one job of a sweep, or the only one; a job that fails says so and lets the others run."""
    try:
        return _run(cfg)
    except AlmaflowError as error:
        click.echo(f"almaflow: {error}", err=True)
        return error.exit_code


def _run(cfg: DictConfig) -> int:
    from almaflow import config
    from almaflow.jobfiles import write_output
    from almaflow.records import Status
    from almaflow.report.progress import Progress
    from almaflow.report.terminal import announce, present
    from almaflow.request import make_request
    from almaflow.runner import run_job

    job_config = config.validate(cfg)
    request = make_request(job_config, sweep_id=_sweep_id())
    announce(request)
    with Progress() as progress:
        job = run_job(request, progress)
    try:
        if job_config.output:
            write_output(job_config.output, job)
    finally:
        present(request, job)
    if job.interrupted:
        return INTERRUPTED
    failed = any(outcome.status is Status.FAILED for outcome in job.outcomes)
    return 1 if failed and (job_config.strict or job_config.fail_fast) else 0


def _sweep_id() -> str | None:
    """The name that the jobs of a multirun share; None for a single job."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    return Path(hydra.sweep.dir).name if hydra.mode is RunMode.MULTIRUN else None
