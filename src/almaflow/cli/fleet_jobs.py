"""The jobs of ``almaflow run`` that a fleet measures: all are composed and checked, then all are sent."""

from __future__ import annotations

from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import click

from almaflow.errors import ALERT, AlmaflowError
from almaflow.records import Resume, Status, SweepJob

if TYPE_CHECKING:
    from collections.abc import Iterator

    from almaflow.cli.sweep import Ended
    from almaflow.config.schema import JobConfig
    from almaflow.fleet.coordinate import Ended as OrderEnded
    from almaflow.fleet.make import Made
    from almaflow.records import Job


@dataclass(frozen=True)
class FleetJob:
    """A job that waits to be sent, and what its sweep is to be told of it."""

    made: Made
    ended: Ended
    sweep_id: str | None
    number: int = 0
    overrides: tuple[str, ...] = ()


@dataclass
class Gathered:
    """The jobs of one command."""

    jobs: list[FleetJob] = field(default_factory=list)


_GATHERED: ContextVar[Gathered] = ContextVar("gathered")
"""Where Hydra's launcher runs jobs in the process of the command; elsewhere each is sent at once."""


@contextmanager
def gathered() -> Iterator[Gathered]:
    """Give what receives the jobs that are composed in the block."""
    jobs = Gathered()
    token = _GATHERED.set(jobs)
    try:
        yield jobs
    finally:
        _GATHERED.reset(token)


def add(job_config: JobConfig, ended: Ended, sweep_id: str | None) -> int:
    """Make the order of a job, to be sent with those of the other jobs, and return the exit code so far.

    Raises:
        UsageError: something in the configuration is wrong.
    """
    from hydra.core.hydra_config import HydraConfig

    from almaflow.fleet.make import make_order, prepare_store
    from almaflow.records import measurement_overrides

    hydra = HydraConfig.get()
    number = hydra.job.num if sweep_id else 0
    made = make_order(
        job_config,
        kind=hydra.runtime.choices.get("hardware"),
        sweep_id=sweep_id,
        number=number,
        warn=lambda line: click.echo(f"warning: {line}", err=True),
    )
    prepare_store(made.request)
    ended.experiment_name, ended.store = made.request.experiment_name, made.kept.store
    job = FleetJob(made, ended, sweep_id, number, measurement_overrides(hydra.overrides.task))
    waiting = _GATHERED.get(None)
    if waiting is None:
        return send([job])
    ended.sent = True
    waiting.jobs.append(job)
    return 0


def send(jobs: list[FleetJob]) -> int:
    """Send the orders of all jobs, follow them to their ends, and return the worst exit code.

    Raises:
        AlmaflowError: the fleet cannot be reached; what was not sent goes on with ``resume=true``.
    """
    from almaflow.fleet.coordinate import Coordinator
    from almaflow.fleet.display import FleetDisplay
    from almaflow.fleet.engines import open_engine
    from almaflow.report.terminal import announce

    if not jobs:
        return 0
    for uri, experiment in dict.fromkeys((each.made.request.uri, each.made.request.experiment_name) for each in jobs):
        announce(uri, experiment)
    known = _by_order(jobs)
    first = jobs[0].made
    labels = {order_id: _label(each, len(jobs)) for order_id, each in known.items()}
    fleet = first.kept
    with closing(open_engine(fleet.engine, fleet.address, first.job.fleet.quota, fleet.order.user)) as engine:
        display = FleetDisplay(labels)
        uris = {order_id: each.made.request.uri for order_id, each in known.items()}
        ends = Coordinator(engine, display, uris).run(
            [each.made.kept for each in known.values()],
            {sha256: path for each in known.values() for sha256, path in each.made.files.items()},
        )
        try:
            codes = [_close(known[end.kept.order.order_id], end, labels) for end in ends]
        finally:
            display.close()
    return max(codes, default=0)


def _by_order(jobs: list[FleetJob]) -> dict[str, FleetJob]:
    """Return the jobs by the IDs of their orders; of two alike only one goes on with an earlier one."""
    known: dict[str, FleetJob] = {}
    for job in jobs:
        resumed = _resumed(job)
        chosen = job if resumed.made.kept.order.order_id in known else resumed
        known[chosen.made.kept.order.order_id] = chosen
    return known


def _resumed(job: FleetJob) -> FleetJob:
    """Return the job with the order of an earlier command that asks for the same, where it is to be resumed."""
    from almaflow.fleet.adopt import resumed

    if Resume(str(job.made.job.resume).lower()) is Resume.NO or not (kept := resumed(job.made.kept)):
        return job
    return replace(job, made=replace(job.made, kept=kept))


def _label(job: FleetJob, count: int) -> str:
    if count == 1:
        return ""
    order = job.made.kept.order
    return f"job {job.number + 1}, {job.made.request.model.name}" + (f" on {order.kind}" if order.kind else "")


def _close(job: FleetJob, end: OrderEnded, labels: dict[str, str]) -> int:
    """Show a job that ended, tell its sweep, and return its exit code."""
    ended = job.ended
    try:
        ended.code = _code(job, end)
        ended.error = end.error
        if end.error:
            label = labels[end.kept.order.order_id]
            click.echo(f"almaflow: {label}: {end.error}" if label else f"almaflow: {end.error}", err=True)
    except AlmaflowError as error:
        ended.code, ended.error = error.exit_code, str(error)
        click.echo(f"almaflow: {error}", err=True)
    _tell_sweep(job, end.job)
    return ended.code


def _code(job: FleetJob, end: OrderEnded) -> int:
    """Show the results of a job, write what it asks for, and return its exit code.

    Raises:
        AlmaflowError: its file for output cannot be written.
    """
    from almaflow.analysis import to_output
    from almaflow.jobs.artifacts import write_output
    from almaflow.jobs.strictness import shortfalls
    from almaflow.report.terminal import show_places, show_table

    result, config = end.job, job.made.job
    if result is None:
        return end.code
    show_table(result)
    job.ended.output = to_output(result)
    try:
        if config.output:
            write_output(config.output, result)
    finally:
        show_places(job.made.request.uri, result)
    if end.code:
        return end.code
    failed = any(outcome.status is Status.FAILED for outcome in result.outcomes)
    if (config.fail_fast and failed) or (config.strict and shortfalls(result)):
        return AlmaflowError.exit_code
    choice = job.ended.output["choice"]
    return ALERT if choice and choice["conversion"] is None else 0


def _tell_sweep(job: FleetJob, result: Job | None) -> None:
    """Record how a job of a sweep ended."""
    from almaflow.records.clock import now
    from almaflow.sweeps.files import SweepFiles

    if job.sweep_id is None:
        return
    ended = job.ended
    started_at = result.started_at if result else job.made.kept.made_at
    ended_at = result.ended_at if result and result.ended_at else now()
    SweepFiles.of(job.sweep_id).write_job(
        SweepJob(
            job.number,
            job.overrides,
            started_at,
            ended_at,
            ended.code,
            ended.error,
            ended.experiment_name,
            ended.store,
            ended.output,
        )
    )
