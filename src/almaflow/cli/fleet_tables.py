"""Tables of ``almaflow fleet``: machines, the queue, and the orders of this home."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from almaflow.cli.console import wide_console
from almaflow.fleet.broker_service import event_of
from almaflow.records.json_files import from_line
from almaflow.records.order import FleetMachine
from almaflow.report.progress import duration
from almaflow.secrets import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from almaflow.records.kept_order import KeptOrder
    from almaflow.records.order import OrderEvent


def machines_table(machines: Sequence[Mapping[str, Any]]) -> None:
    """Print the machines."""
    table = _table("machine", "kinds", "state", "what it is", "environments")
    for each in machines:
        record = from_line(each["machine"], FleetMachine)
        state = str(each["state"])
        if each["order_id"]:
            state += f": {each['order_id']}" + (f" for {each['user']}" if each["user"] else "")
            state += ", then drained" if each["is_drained"] else ""
        what = f"{record.gpu or record.processor}, {record.cores} cores, {record.memory_gb:g} GB"
        environments = ", ".join(
            f"{one.name} (Python {one.versions.get('python', '?')}, torch {one.versions.get('torch', '?')})"
            for one in record.environments
        )
        _row(table, record.machine_id, ", ".join(record.kinds), state, what, environments)
    _print(table, "the fleet has no machine: join one with `almaflow fleet join`")


def queue_table(orders: Sequence[Mapping[str, Any]]) -> None:
    """Print the orders of all users, those under way first."""
    table = _table("order", "user", "hardware", "where it stands")
    read = [(each, event_of(each["stands"])) for each in orders]
    for each, event in sorted(read, key=lambda both: (both[1].place or 0, both[1].order_id)):
        _row(table, event.order_id, each["user"], each["kind"] or "any", standing(event))
    _print(table, "no order waits or is under way")


def status_table(waiting: Sequence[KeptOrder], events: Mapping[str, OrderEvent]) -> None:
    """Print the orders of this home."""
    table = _table("order", "hardware", "where it stands")
    for each in waiting:
        event = events.get(each.order.order_id)
        text = standing(event) if event else "the fleet does not know it; `almaflow run ... resume=true` sends it again"
        _row(table, each.order.order_id, each.order.kind or "any", text)
    _print(table, "")


def standing(event: OrderEvent) -> str:
    """Return where an order stands, in words."""
    text = str(event.state)
    if event.place is not None:
        holder = f", held by {event.held_by}" if event.held_by else ""
        about = "" if event.about_s is None else f", about {duration(event.about_s)}"
        text = f"waits, number {event.place}{holder}{about}"
    elif event.machine_id:
        text += f" on {event.machine_id}"
    return text + (f" ({event.line})" if event.line else "")


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _row(table: Table, *cells: str) -> None:
    table.add_row(*(printable(each).replace("[", "\\[") for each in cells))


def _print(table: Table, otherwise: str) -> None:
    console = wide_console(100)
    console.print(table if table.row_count else otherwise)
