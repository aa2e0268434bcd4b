"""``almaflow fleet plan``: how long a sweep would take on a fleet that is not there, and what it would cost."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from almaflow.cli.console import wide_console
from almaflow.errors import TrackingError, UsageError
from almaflow.report.progress import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from almaflow.fleet.plan import Plan, PlannedJob

ANY = ("auto", "")


@click.command()
@click.argument("overrides", nargs=-1)
@click.option("--multirun", "-m", is_flag=True, help="As `almaflow run` has it: several values are always all planned.")
@click.option(
    "--machines", required=True, metavar="KIND=N,...", help="The fleet: how many machines of each hardware config."
)
@click.option("--quota", type=click.IntRange(1), metavar="N", help="Machines that you may hold at once.")
@click.option("--json", "as_json", is_flag=True, help="Print an object.")
def plan(
    overrides: tuple[str, ...],
    multirun: bool,  # noqa: FBT001 - click passes a flag so
    machines: str,
    quota: int | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Plan a sweep by OVERRIDES as `almaflow run -m` takes them; nothing runs.

    almaflow fleet plan -m model=resnet18,bert hardware=r6i_large,t4 tier=2 --machines r6i_large=2,t4=1
    """
    from almaflow.config.files import choices
    from almaflow.fleet.plan import plan as planned

    del multirun
    fleet = _fleet(machines)
    hardware = choices("hardware")
    jobs = _jobs(overrides)
    prices = {kind: hardware[kind].get("price_per_hour") for kind in fleet}
    made = planned(jobs, fleet, prices, quota)
    if as_json:
        click.echo(json.dumps(_data(made, jobs), indent=1))
        return
    _render(made, jobs, wide_console(120))


def _fleet(text: str) -> dict[str, int]:
    """Read ``r6i_large=2,g4dn_xlarge=1``."""
    from almaflow.config.files import choices, meant

    fleet: dict[str, int] = {}
    for part in text.split(","):
        name, given, number = part.strip().partition("=")
        if not given or not number.isdecimal() or not int(number):
            message = f"--machines {part.strip()}: write KIND=N, a hardware config and how many, e.g. r6i_large=2"
            raise UsageError(message)
        kind = meant("hardware", name)
        if kind not in choices("hardware"):
            message = f"--machines {name}: no such hardware config; `almaflow hardware` lists them"
            raise UsageError(message)
        fleet[kind] = fleet.get(kind, 0) + int(number)
    return fleet


def _jobs(overrides: Sequence[str]) -> list[PlannedJob]:
    from almaflow.config.composition import compose
    from almaflow.config.explain import explain as explained
    from almaflow.config.overrides import expand

    try:
        expanded = expand(overrides)
        jobs = [compose(each) for each in expanded]
    except Exception as error:
        raise explained(error) or error from error
    return [_planned(each, job) for each, job in zip(expanded, jobs, strict=True)]


def _planned(overrides: list[str], job: Any) -> PlannedJob:
    from almaflow.config.resolve import resolve_measure
    from almaflow.fleet.durations import WantedJob, estimate
    from almaflow.fleet.plan import PlannedJob
    from almaflow.predict.configured import resolve_job
    from almaflow.records import to_dict
    from almaflow.tracking.durations import SETTINGS, job_durations
    from almaflow.tracking.fingerprints import as_text

    values = dict(each.partition("=")[::2] for each in overrides)
    kind = values.get("hardware", "").strip("'\"")
    resolved, measure = resolve_job(job, here=False), resolve_measure(job)
    try:
        known = job_durations(resolved.uri, job.experiment_name)
    except TrackingError as error:
        click.echo(f"almaflow: {error}; durations are estimated by rule", err=True)
        known = []
    settings = to_dict(measure)
    wanted = WantedJob(
        resolved.model.name,
        resolved.model.batch_size,
        job.tier.number,
        None if kind in ANY else resolved.hardware.name,
        sum(each.unavailable is None for each in resolved.plan) or len(resolved.plan),
        measure,
        tuple(None if settings[name] is None else as_text(settings[name]) for name in SETTINGS),
    )
    return PlannedJob(" ".join(overrides), None if kind in ANY else kind, estimate(wanted, known))


def _data(made: Plan, jobs: Sequence[PlannedJob]) -> dict[str, Any]:
    kinds = [asdict(each) | {"busy_usd": each.busy_usd, "held_usd": each.held_usd} for each in made.kinds]
    return asdict(made) | {"kinds": kinds, "jobs": [asdict(job) for job in jobs]}


def _render(made: Plan, jobs: Sequence[PlannedJob], console: Console) -> None:
    number = sum(each.machines for each in made.kinds)
    console.print(
        Text(
            f"{len(jobs)} job{'s'[: len(jobs) != 1]} on {number} machine{'s'[: number != 1]}: about "
            f"{duration(made.seconds)} ({duration(made.low_s)} to {duration(made.high_s)}); "
            f"one after the other {duration(made.alone_s)}",
            style="bold",
        )
    )
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("machines")
    for header in ("number", "jobs", "busy", "last ends", "USD busy", "USD held till then"):
        table.add_column(header, justify="right")
    for each in made.kinds:
        money = [_usd(each.busy_usd), _usd(each.held_usd)]
        times = [f"{each.busy_s / (each.machines * made.seconds):.0%}", duration(each.ends_s)]
        table.add_row(each.kind, str(each.machines), str(each.jobs), *times, *money)
    if len(made.kinds) > 1:
        all_of = (sum(usd) if None not in usd else None for usd in _columns(made))
        table.add_row("all", str(number), str(len(jobs)), "", duration(made.seconds), *map(_usd, all_of), style="bold")
    console.print(table)
    for source, count in made.sources.items():
        console.print(Text(f"times of {count} job{'s'[: count != 1]}: {source}"))
    if any(each.price_per_hour is None for each in made.kinds):
        console.print(Text("no price: hardware.price_per_hour is not set in the hardware config"))


def _columns(made: Plan) -> tuple[list[Any], list[Any]]:
    return [each.busy_usd for each in made.kinds], [each.held_usd for each in made.kinds]


def _usd(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value >= 1 else f"{value:.3g}"
