"""``almaflow fleet``: more than one machine under one head."""

from __future__ import annotations

import click

from almaflow.cli import fleet_orders, fleet_services
from almaflow.cli.fleet_plan import plan


@click.group()
def fleet() -> None:
    """Measure on more than one machine.

    `almaflow fleet head` starts the head, and `almaflow fleet join` brings a machine in. Then
    `almaflow run ... hardware=KIND fleet=ray fleet.address=HOST:PORT` is measured there.
    """


for command in (
    *(fleet_services.head, fleet_services.join, fleet_services.stop, fleet_services.doctor),
    *(fleet_orders.list_machines, fleet_orders.queue, fleet_orders.status, fleet_orders.collect),
    *(fleet_orders.cancel, fleet_orders.drain, plan),
):
    fleet.add_command(command)
