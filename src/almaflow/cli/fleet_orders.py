"""``almaflow fleet list``, ``queue``, ``status``, ``collect``, ``cancel`` and ``drain``: machines and orders."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from almaflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.fleet.engines.ray import RayEngine
    from almaflow.records.kept_order import KeptOrder


def _at(command: Callable[..., Any]) -> Callable[..., Any]:
    option = click.option(
        "--address", metavar="HOST:PORT", help="The head.  [default: that of what runs here, or of the last order]"
    )
    return option(command)


@click.command("list")
@_at
def list_machines(*, address: str | None) -> None:
    """List the machines: what each is, and what it does."""
    from almaflow.cli.fleet_tables import machines_table

    with closing(_engine(address)) as engine:
        machines_table(engine.states_of_machines())


@click.command()
@_at
def queue(*, address: str | None) -> None:
    """Show the orders of all users: those under way, and those that wait, with their places."""
    from almaflow.cli.fleet_tables import queue_table

    with closing(_engine(address)) as engine:
        queue_table(engine.queue())


@click.command()
def status() -> None:
    """Show the orders of this home that have no recorded result."""
    from almaflow.cli.fleet_tables import status_table
    from almaflow.fleet.engines import open_engine

    for (name, at), waiting in _outstanding().items():
        with closing(open_engine(name, at, None, "")) as engine:
            status_table(waiting, engine.states([each.order.order_id for each in waiting]))


@click.command()
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


@click.command()
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


@click.command()
@click.argument("machine_id", metavar="MACHINE")
@click.option("--undo", is_flag=True, help="Grant it again.")
@_at
def drain(*, machine_id: str, undo: bool, address: str | None) -> None:
    """Let a machine end what it runs, and grant it to nobody."""
    with closing(_engine(address)) as engine:
        engine.drain(machine_id, is_drained=not undo)
    click.echo(f"machine {machine_id} is {'granted again' if undo else 'granted to nobody from now on'}")


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
