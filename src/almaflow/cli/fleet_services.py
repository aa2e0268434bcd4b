"""``almaflow fleet head``, ``join``, ``stop`` and ``doctor``: what runs on this machine for a fleet."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from almaflow.errors import UsageError
from almaflow.processes.interrupts import as_interrupts

if TYPE_CHECKING:
    from collections.abc import Sequence

PORT = 6379
LOST_S = 90.0
"""The broker's own figure; the test compares them."""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address under which machines reach this one.")
@click.option("--port", type=click.IntRange(1, 65_000), default=PORT, show_default=True, help="And the next one too.")
@click.option("--quota", type=click.IntRange(1), metavar="N", help="Machines that one user may hold at once.")
@click.option(
    "--lost-after",
    type=click.FloatRange(20),
    default=LOST_S,
    show_default=True,
    metavar="S",
    help="Grant an order again where its machine was not heard of for so many seconds.",
)
@click.option("--foreground", is_flag=True, help="Stay, instead of going on in the background.")
def head(*, host: str, port: int, quota: int | None, lost_after: float, foreground: bool) -> None:
    """Start the head: Ray with a token, and the broker that grants machines."""
    from almaflow.fleet.head import check_token_is_asked, run_head
    from almaflow.fleet.service import HEAD

    check_token_is_asked()
    if foreground:
        with as_interrupts(signal.SIGTERM, signal.SIGHUP):
            run_head(host, port, quota, lost_after, click.echo)
    given = [
        "--host",
        host,
        "--port",
        str(port),
        "--lost-after",
        str(lost_after),
        *([] if quota is None else ["--quota", str(quota)]),
    ]
    _check_free("head")
    click.echo(HEAD.start(given))


@click.command()
@click.argument("address", metavar="HOST:PORT")
@click.option("--kind", "kinds", multiple=True, metavar="NAME", help="A hardware config that this machine matches.")
@click.option(
    "--environment", "environments", multiple=True, metavar="NAME=PYTHON", help="An environment for orders to run in."
)
@click.option(
    "--token-file", type=click.Path(path_type=Path), metavar="FILE", help="The head's token; kept for the next time."
)
@click.option("--unit", is_flag=True, help="Print a systemd unit that joins at every start, and do nothing else.")
@click.option("--foreground", is_flag=True, help="Stay, instead of going on in the background.")
def join(  # noqa: PLR0913 - its options
    *,
    address: str,
    kinds: tuple[str, ...],
    environments: tuple[str, ...],
    token_file: Path | None,
    unit: bool,
    foreground: bool,
) -> None:
    """Bring this machine into the fleet of a head, as what it proves to be."""
    from almaflow.fleet import join as joining
    from almaflow.fleet.engines.ray_node import check_answers, split_address
    from almaflow.fleet.service import JOIN

    split_address(address)
    found = joining.prove(kinds, _pythons(environments))
    given = [address, *_repeated("--kind", kinds), *_repeated("--environment", environments)]
    if unit:
        with joining.taken_token(token_file):
            click.echo(joining.unit(given), nl=False)
        return
    check_answers(address)
    if foreground:
        with joining.taken_token(token_file) as token, as_interrupts(signal.SIGTERM, signal.SIGHUP):
            joining.stay(address, found, token, click.echo)
    _check_free("join")
    with joining.taken_token(token_file):
        click.echo(JOIN.start(given))


@click.command()
def stop() -> None:
    """End the head or the machine's part in a fleet that runs here; what measures goes on."""
    from almaflow.fleet.service import HEAD, JOIN

    ended = [each.name for each in (JOIN, HEAD) if each.stop()]
    click.echo(f"ended: {', '.join(ended)}" if ended else "nothing of a fleet runs here")


@click.command()
def doctor() -> int:
    """Check what a fleet needs here, and whether what runs here answers."""
    from almaflow.fleet.checkup import checks

    found = checks()
    for each in found:
        mark = {True: "ok  ", False: "FAIL", None: "--  "}[each.is_well]
        click.echo(f"{mark} {each.name}: {each.line}")
    return 1 if any(each.is_well is False for each in found) else 0


def _check_free(name: str) -> None:
    from almaflow.fleet.service import Service

    if Service(name).running():
        message = f"`almaflow fleet {name}` runs here already; `almaflow fleet stop` ends it"
        raise UsageError(message)


def _pythons(environments: Sequence[str]) -> dict[str, Path]:
    found = {}
    for each in environments:
        name, sign, python = each.partition("=")
        if not (name and sign and python):
            message = f"--environment {each}: give it as NAME=PYTHON, e.g. torch27=~/torch27/bin/python"
            raise UsageError(message)
        found[name] = Path(python).expanduser().absolute()
    return found


def _repeated(option: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (option, value)]
