"""A sweep of ``almaflow run -m``: its record is begun before the jobs and closed after them."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import read_write

from almaflow.cli import INTERRUPTED
from almaflow.cli.console import wide_console
from almaflow.config.overrides import override
from almaflow.errors import ALERT, AlmaflowError, UsageError
from almaflow.records import Resume, SweepJob, measurement_overrides
from almaflow.records.clock import now
from almaflow.report.progress import duration
from almaflow.report.sweep import render_sweep
from almaflow.report.terminal import ui_command
from almaflow.secrets import PRIVATE, mask
from almaflow.sweeps import record as sweeping
from almaflow.sweeps.files import SweepFiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from omegaconf import DictConfig

    from almaflow.jobs.request import Request
    from almaflow.sweeps.record import HeldSweep


_BEGUN: ContextVar[list[HeldSweep]] = ContextVar("begun")
"""The sweep that the running command began, if it has: Hydra makes the callback, and the command cannot reach it."""


@contextmanager
def begun_sweeps() -> Iterator[list[HeldSweep]]:
    """Give the list that receives the sweep that ``SweepCallback`` begins: at most one."""
    begun: list[HeldSweep] = []
    token = _BEGUN.set(begun)
    try:
        yield begun
    finally:
        _BEGUN.reset(token)


class NotBegunError(BaseException):
    """Raised where a sweep cannot be begun; Hydra would turn an exception into a warning, and run the jobs."""

    def __init__(self, reason: Exception) -> None:
        """Keep the reason."""
        super().__init__(str(reason))
        self.reason = reason


class SweepCallback(Callback):
    """Starts the record of a sweep; Hydra makes one of these because ``conf/config.yaml`` names it."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Begin the sweep before its first job is composed, and name Hydra's directory of the sweep after it.

        Hydra composes every job from ``hydra.overrides.hydra``, in whatever process a launcher starts the job, and so
        each job can tell its sweep by the name of that directory.
        """
        begun = _BEGUN.get(None)
        if begun is None:  # another Hydra application with this configuration, which would not close the record
            return
        overrides = list(config.hydra.overrides.task)
        params = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
        swept = [*params, *overrides]
        resumed = any(each.startswith("resume=") and each != "resume=false" for each in swept)
        directory = Path(config.hydra.sweep.dir)
        try:
            held = sweeping.begin(directory.name, swept, _planned(config, swept), resumed=resumed)
        except Exception as error:
            raise NotBegunError(error) from error
        begun.append(held)
        directory = directory.with_name(held.files.root.name)
        _keep_nothing(directory)
        with read_write(config.hydra):
            config.hydra.sweep.dir = str(directory)
            config.hydra.overrides.hydra.append(override("hydra.sweep.dir", directory))


def _keep_nothing(directory: Path) -> None:
    """Lead the file that Hydra's sweepers write their configuration to, passwords included, to nowhere."""
    directory.mkdir(PRIVATE, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        (directory / "multirun.yaml").symlink_to(os.devnull)


def _planned(config: DictConfig, overrides: list[str]) -> list[list[str]] | None:
    """Return the overrides of each job, as Hydra's own sweeper makes them; None where another one is used."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    hydra = GlobalHydra.instance().hydra
    if hydra is None or not config.hydra.sweeper._target_.endswith(f".{BasicSweeper.__name__}"):
        return None
    parsed = OverridesParser.create(config_loader=hydra.config_loader).parse_overrides(overrides)
    (batch,) = BasicSweeper.split_arguments(parsed, None)
    return batch


@dataclass
class Ended:
    """The end of a job: its exit code, error and results."""

    code: int = 0
    error: str | None = None
    experiment_name: str | None = None
    store: str | None = None
    output: dict[str, Any] | None = None
    sent: bool = False
    """Whether a fleet is to measure it, so that it has not ended yet."""


@contextmanager
def one_of(sweep: str | None) -> Iterator[Ended]:
    """Show which job of the sweep begins, and record how it ended, whatever happens; nothing for a single job."""
    ended = Ended()
    if sweep is None:
        yield ended
        return
    hydra = HydraConfig.get()
    number, started_at = hydra.job.num, now()
    overrides = measurement_overrides(hydra.overrides.task)
    files = SweepFiles.of(sweep)
    click.echo(sweeping.next_job(files, number, overrides), err=True)
    files.begin_job(number)
    try:
        yield ended
    except BaseException as error:
        ended.error = str(error) if isinstance(error, AlmaflowError) else mask(f"{type(error).__name__}: {error}")
        ended.code = error.exit_code if isinstance(error, AlmaflowError) else AlmaflowError.exit_code
        raise
    finally:
        if not ended.sent:
            values = {name: value for name, value in asdict(ended).items() if name != "sent"}
            files.write_job(SweepJob(number, overrides, started_at, now(), **values))


def sweep_id() -> str | None:
    """Return the name that the jobs of a sweep share; None for a single job."""
    hydra = HydraConfig.get()
    return Path(hydra.sweep.dir).name if hydra.mode is RunMode.MULTIRUN else None


def show_remaining(sweep: str, request: Request) -> None:
    """Show how long the sweep may take from this job on, where earlier jobs allow an estimate.

    Nothing where it goes on with what the store has: of how much that is, earlier jobs tell nothing.
    """
    from almaflow.tracking.reader import job_times

    if request.resume is not Resume.NO:
        return
    try:
        history = job_times(request.uri, request.experiment_name)
    except AlmaflowError:  # an estimate is not worth a warning
        history = {}
    same = (request.model.name, str(request.model.batch_size), str(request.tier))
    remaining = sweeping.remaining_s(SweepFiles.of(sweep), HydraConfig.get().job.num, same, history)
    if remaining is not None:
        click.echo(f"about {duration(remaining)} for the rest of the sweep", err=True)


def close(begun: Sequence[HeldSweep], code: int) -> int:
    """Close the sweep that was begun, if one was; show its jobs, and give the exit code of the whole command.

    Args:
        begun: The sweep that the command began, or none.
        code: The exit code of the command so far.
    """
    for held in begun:
        try:
            code = _closed(held.files, code)
        finally:
            held.lock.release()
    return code


def _closed(files: SweepFiles, code: int) -> int:
    jobs = files.jobs()
    if not jobs and not files.begun():  # the input was wrong, and no job was composed
        files.remove()
        return code
    summary = sweeping.end(files, interrupted=code == INTERRUPTED)
    console = wide_console(120)
    console.print()
    render_sweep(summary, console)
    try:
        sweeping.track(files, summary)
        if store := sweeping.store_of(files):
            click.echo(f"\nOpen the sweep in the MLflow UI: {ui_command(store[0])}")
    except AlmaflowError as error:
        click.echo(f"almaflow: {error}", err=True)
    if code == INTERRUPTED:
        return code
    if jobs and all(job.code == UsageError.exit_code for job in jobs):
        return UsageError.exit_code
    if summary.failed_jobs == sum(job.code == ALERT for job in jobs):
        return ALERT if summary.failed_jobs else 0
    return AlmaflowError.exit_code
