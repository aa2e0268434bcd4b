"""``almaflow fleet``: more than one machine under one head."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from almaflow.cli.fleet_plan import plan
from almaflow.errors import UsageError
from almaflow.processes.interrupts import as_interrupts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from almaflow.fleet.engines.ray import RayEngine
    from almaflow.records.kept_order import KeptOrder

PORT = 6379
LOST_S = 90.0
"""The broker's own figure; the test compares them."""


@click.group()
def fleet() -> None:
    """Measure on more than one machine.

    `almaflow fleet head` starts the head, and `almaflow fleet join` brings a machine in. Then
    `almaflow run ... hardware=KIND fleet=ray fleet.address=HOST:PORT` is measured there.
    """


def _at(command: Callable[..., Any]) -> Callable[..., Any]:
    option = click.option(
        "--address", metavar="HOST:PORT", help="The head.  [default: that of what runs here, or of the last order]"
    )
    return option(command)


@fleet.command()
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


@fleet.command()
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


@fleet.command()
def stop() -> None:
    """End the head or the machine's part in a fleet that runs here; what measures goes on."""
    from almaflow.fleet.service import HEAD, JOIN

    ended = [each.name for each in (JOIN, HEAD) if each.stop()]
    click.echo(f"ended: {', '.join(ended)}" if ended else "nothing of a fleet runs here")


@fleet.command("list")
@_at
def list_machines(*, address: str | None) -> None:
    """List the machines: what each is, and what it does."""
    from almaflow.cli.fleet_tables import machines_table

    with closing(_engine(address)) as engine:
        machines_table(engine.states_of_machines())


@fleet.command()
@_at
def queue(*, address: str | None) -> None:
    """Show the orders of all users: those under way, and those that wait, with their places."""
    from almaflow.cli.fleet_tables import queue_table

    with closing(_engine(address)) as engine:
        queue_table(engine.queue())


@fleet.command()
def status() -> None:
    """Show the orders of this home that have no recorded result."""
    from almaflow.cli.fleet_tables import status_table
    from almaflow.fleet.engines import open_engine

    for (name, at), waiting in _outstanding().items():
        with closing(open_engine(name, at, None, "")) as engine:
            status_table(waiting, engine.states([each.order.order_id for each in waiting]))


@fleet.command()
def collect() -> int:
    """Fetch and record the results of this home's orders that are done; their command may have been killed."""
    from almaflow.cli.fleet_tables import standing
    from almaflow.fleet.coordinate import Ended
    from almaflow.fleet.coordinate import collect as collected
    from almaflow.fleet.display import FleetDisplay
    from almaflow.fleet.engines import open_engine

    code = 0
    for (name, at), waiting in _outstanding().items():
        left = {each.order.order_id for each in waiting}
        with closing(open_engine(name, at, None, "")) as engine, closing(FleetDisplay({})) as display:
            for each in collected(engine, display, waiting):
                if isinstance(each, Ended):
                    order_id, text = each.kept.order.order_id, each.error or "recorded"
                    code = max(code, each.code)
                else:
                    order_id, text = each.order_id, standing(each)
                left.discard(order_id)
                click.echo(f"{order_id}: {text}")
        for order_id in sorted(left):
            click.echo(f"{order_id}: the fleet does not know it; `almaflow run ... resume=true` sends it again")
    return code


@fleet.command()
@click.argument("order_ids", nargs=-1, required=True, metavar="ORDER...")
@_at
def cancel(*, order_ids: tuple[str, ...], address: str | None) -> None:
    """Take orders from the queue, or end them; what they have measured is kept."""
    with closing(_engine(address)) as engine:
        known = engine.states(order_ids)
        if unknown := [each for each in order_ids if each not in known]:
            message = f"order {unknown[0]}: the fleet does not know it; `almaflow fleet queue` shows those that it has"
            raise UsageError(message)
        for each in order_ids:
            engine.cancel(each)
            click.echo(f"cancelled: {each}")


@fleet.command()
@click.argument("machine_id", metavar="MACHINE")
@click.option("--undo", is_flag=True, help="Grant it again.")
@_at
def drain(*, machine_id: str, undo: bool, address: str | None) -> None:
    """Let a machine end what it runs, and grant it to nobody."""
    with closing(_engine(address)) as engine:
        engine.drain(machine_id, is_drained=not undo)
    click.echo(f"machine {machine_id} is {'granted again' if undo else 'granted to nobody from now on'}")


fleet.add_command(plan)


@fleet.command()
def doctor() -> int:
    """Check what a fleet needs here, and whether what runs here answers."""
    from almaflow.fleet.checkup import checks

    found = checks()
    for each in found:
        mark = {True: "ok  ", False: "FAIL", None: "--  "}[each.is_well]
        click.echo(f"{mark} {each.name}: {each.line}")
    return 1 if any(each.is_well is False for each in found) else 0


def _outstanding() -> dict[tuple[str, str | None], list[KeptOrder]]:
    """Return the orders of this home without a result, by the engine and the head that they were sent to."""
    from almaflow.fleet.orders import outstanding

    found: dict[tuple[str, str | None], list[KeptOrder]] = {}
    for each in outstanding():
        found.setdefault((each.engine, each.address), []).append(each)
    if not found:
        click.echo("every order of this home has its result")
    return found


def _engine(address: str | None) -> RayEngine:
    from almaflow.fleet.engines.ray import RayEngine

    return RayEngine(address or _known_address(), None, "")


def _known_address() -> str:
    """Return the address of the head that this home has to do with.

    Raises:
        UsageError: there is none.
    """
    from almaflow.fleet.orders import orders
    from almaflow.fleet.service import HEAD, JOIN

    running = [found.address for each in (HEAD, JOIN) if (found := each.running())]
    sent = (each.address for each in orders() if each.address)
    address = next(iter(running), None) or next(sent, None)
    if address is None:
        message = "no head is known here: give it by --address HOST:PORT"
        raise UsageError(message)
    return address


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
