"""``almaflow run``: Hydra composes the configuration, and each job is run."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

import click
import yaml

from almaflow.cli import INTERRUPTED, completion
from almaflow.cli.arguments import check_flags, config_dirs
from almaflow.cli.launchers import explain_launcher
from almaflow.cli.surroundings import writable_home
from almaflow.config import files, overrides, store, validation
from almaflow.config.explain import explain
from almaflow.errors import ALERT, AlmaflowError
from almaflow.processes.interrupts import as_interrupts
from almaflow.secrets import mask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from omegaconf import DictConfig

    from almaflow.cli.sweep import Ended


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(arguments: tuple[str, ...]) -> int:
    """Measure a model through its conversions."""
    completing = arguments[:1] in {("-sc",), ("--shell-completion",)}
    if completing and completion.answered():
        return 0
    if not completing:
        check_flags(arguments)
    if {"--help", "-h"} & {*arguments}:
        from almaflow.cli.run_help import show_help

        show_help()
        return 0
    from almaflow.cli import fleet_jobs, sweep

    store.register()
    interrupts = as_interrupts(signal.SIGTERM, signal.SIGHUP)
    with interrupts, sweep.begun_sweeps() as begun, fleet_jobs.gathered() as gathered:
        try:
            code = _under_hydra(arguments, completing=completing)
            if code != INTERRUPTED:
                code = max(code, fleet_jobs.send(gathered.jobs))
        except sweep.NotBegunError as error:
            raise error.reason from error
        except BaseException:
            sweep.close(begun, AlmaflowError.exit_code)
            raise
        return sweep.close(begun, code)


def _under_hydra(arguments: tuple[str, ...], *, completing: bool) -> int:
    """Let Hydra compose and launch the jobs, and give the worst of their exit codes."""
    import hydra

    from almaflow import machine

    codes: list[int] = []

    def task(cfg: DictConfig) -> None:
        codes.append(_one_job(cfg))
        if codes[-1] == INTERRUPTED:
            raise KeyboardInterrupt

    settings = {
        "HYDRA_FULL_ERROR": "1",  # errors are handed on, instead of printed before an exit
        # Where sweeps are kept: a resolver of ours would be unknown in processes that a launcher starts.
        "ALMAFLOW_HOME": str(machine.home()),
    }
    argv, before = sys.argv, {name: os.environ.get(name) for name in settings}  # Hydra reads sys.argv
    words = overrides.as_hydra_reads(arguments, *config_dirs(arguments))
    sys.argv = ["almaflow" if completing else "almaflow run", *_flags_first(words)]
    os.environ |= settings
    try:
        with _masked_output(arguments):
            hydra.main(version_base="1.3", config_path=str(files.conf_dir()), config_name="config")(task)()
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        explained = explain(error) or explain_launcher(error)
        if explained is None:
            raise
        if completing:  # half a line is often no right one
            return 0
        raise explained from error
    finally:
        sys.argv = argv
        for name in (name for name, value in before.items() if value is None):
            del os.environ[name]
    return max(codes, default=0)


@contextmanager
def _masked_output(arguments: tuple[str, ...]) -> Iterator[None]:
    """Mask what Hydra prints where it is asked for the configuration, and runs nothing."""
    if not {each.partition("=")[0] for each in arguments} & {"--cfg", "-c", "--info", "-i"}:
        yield
        return
    shown = StringIO()
    try:
        with redirect_stdout(shown):
            yield
    finally:
        click.echo(mask(shown.getvalue()), nl=False)
    if not {each.partition("=")[0] for each in arguments} & {"--info", "-i"}:
        _check_conversions(shown.getvalue())


def _check_conversions(shown: str) -> None:
    """Look up the names of the configuration that Hydra printed.

    Raises:
        UsageError: a conversion is unknown.
    """
    from almaflow.conversions.catalogue.names import resolve

    config = yaml.safe_load(shown) if "conversions:" in shown else None
    if isinstance(config, dict) and isinstance(named := config.get("conversions"), list):
        resolve(named)


def _flags_first(arguments: list[str]) -> list[str]:
    """Hydra's parser refuses overrides on both sides of a flag: ``model=simple -m batch_size=1,2``."""
    return sorted(arguments, key=lambda word: not word.startswith("-") and ("=" in word or word.startswith("~")))


def _one_job(cfg: DictConfig) -> int:
    """Run one job of a sweep, or the only one; a job that fails says so and lets the others run."""
    from almaflow.cli.sweep import one_of, sweep_id

    shared = sweep_id()
    try:
        with writable_home(), one_of(shared) as ended:  # Hydra says more than one line of what reaches it
            ended.code = _run(cfg, shared, ended)
            return ended.code
    except AlmaflowError as error:
        click.echo(f"almaflow: {error}", err=True)
        return error.exit_code


def _run(cfg: DictConfig, shared: str | None, ended: Ended) -> int:
    from almaflow.analysis import to_output
    from almaflow.cli import fleet_jobs
    from almaflow.cli.sweep import show_remaining
    from almaflow.config.schema import FleetEngine
    from almaflow.jobs.artifacts import write_output
    from almaflow.jobs.request import make_request
    from almaflow.jobs.run import run_job
    from almaflow.jobs.strictness import shortfalls
    from almaflow.records import Status
    from almaflow.report.progress import TerminalProgress
    from almaflow.report.terminal import announce, show_places
    from almaflow.tracking.uris import display_uri

    job_config = validation.validate(cfg)
    if job_config.fleet.engine is not FleetEngine.none:
        return fleet_jobs.add(job_config, ended, shared)
    request = make_request(job_config, sweep_id=shared)
    ended.experiment_name, ended.store = request.experiment_name, display_uri(request.uri)
    announce(request.uri, request.experiment_name)
    if shared:
        show_remaining(shared, request)
    job = run_job(request, TerminalProgress())
    ended.output = to_output(job)
    try:
        if job_config.output:
            write_output(job_config.output, job)
    finally:
        show_places(request.uri, job)
    if job.interrupted:
        return INTERRUPTED
    failed = any(outcome.status is Status.FAILED for outcome in job.outcomes)
    if (job_config.fail_fast and failed) or (job_config.strict and shortfalls(job)):
        return AlmaflowError.exit_code
    choice = ended.output["choice"]
    return ALERT if choice and choice["conversion"] is None else 0
