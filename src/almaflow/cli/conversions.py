"""``almaflow conversions``: the catalogue, and what of it can run on this machine."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from almaflow.cli.console import wide_console
from almaflow.conversions.catalogue import tiers as catalogue
from almaflow.conversions.catalogue.availability import Availability, check
from almaflow.conversions.catalogue.formats import export_format
from almaflow.machine import has_cuda

if TYPE_CHECKING:
    from rich.console import Console

    from almaflow.conversions.catalogue.entry import Conversion
_NAME_WIDTH = 39
"""The longest single step; longer names are broken behind a plus sign."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list with every field.")
@click.option(
    "--device",
    type=click.Choice(["auto", *catalogue.DEVICES]),
    default="auto",
    show_default=True,
    help="Device to check availability for; auto is cuda if there is a GPU.",
)
@click.option("--tier", type=click.IntRange(catalogue.TIERS[0], catalogue.TIERS[-1]), help="Only those of this tier.")
@click.option(
    "--history",
    "with_history",
    is_flag=True,
    help="Show past results of each conversion instead, by model and versions.",
)
def conversions(
    as_json: bool,  # noqa: FBT001 - click passes a flag so
    device: str,
    tier: int | None,
    with_history: bool,  # noqa: FBT001 - click passes a flag so
) -> None:
    """List the conversions: what each is, whether it can run here, if not why, and how to install it."""
    if with_history:
        from almaflow.cli.history import show_history

        show_history(catalogue.tier(tier, device) if tier else None, as_json=as_json)
        return
    if device == "auto":
        device = "cuda" if has_cuda() else "cpu"
    entries = catalogue.tier(tier, device) if tier else catalogue.everything()
    looked = [(entry, check(entry, device, allow_device_override=True)) for entry in entries]
    if as_json:
        click.echo(json.dumps([_fields(entry, here, device) for entry, here in looked], indent=1))
        return
    console = wide_console(100)
    _show(console, looked, device)


def _fields(entry: Conversion, here: Availability, device: str) -> dict[str, Any]:
    """Return every field of an entry, with its tiers on this device and whether it can run here."""
    fields = asdict(entry) | {"tiers": catalogue.tiers_on(entry, device)}
    del fields["traits"], fields["checks"]
    exportable = export_format(entry)
    return fields | {
        "export": exportable.format,
        "no_export": exportable.reason,
        "available": here.available,
        "runs_on": here.device,
        "device_override": here.device_override,
        "reason": here.reason,
        "kind": here.kind,
        "install": here.install,
    }


def _show(console: Console, looked: list[tuple[Conversion, Availability]], device: str) -> None:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("conversion", overflow="fold", min_width=_NAME_WIDTH)
    for heading in ("family", "engine", "device", "dtype", "tiers", "here"):
        table.add_column(heading, no_wrap=True)
    # A few reasons stand behind most of what cannot run: each is told once, below the table.
    notes: dict[tuple[str, str | None], int] = {}
    for entry, here in looked:
        mark = Text("yes" if not here.device_override else f"on {here.device}", style="green")
        if here.reason:
            mark = Text(f"no [{notes.setdefault((here.reason, here.install), len(notes) + 1)}]", style="red")
        number = "" if entry.number is None else str(entry.number)
        tiers = _range(catalogue.tiers_on(entry, device))
        table.add_row(number, _name(entry), entry.family, entry.engine, entry.device, entry.dtype, tiers, mark)
    console.print(table)
    available = sum(here.available for _, here in looked)
    console.print(f"\n{available} of {len(looked)} can run here with hardware={device}.", highlight=False)
    for (reason, install), note_number in notes.items():
        text = f" {reason}" + (f": {install}" if install else "")
        # Unbroken, so that the install line can be copied.
        console.print(Text.assemble((f"[{note_number}]", "red"), text), soft_wrap=True)


def _name(entry: Conversion) -> Text:
    """Return the name, with its aliases below."""
    below = [f"also {alias}" for alias in entry.aliases]
    return Text("\n").join([Text(_broken(entry.name)), *(Text(_broken(line), style="dim") for line in below)])


def _broken(name: str) -> str:
    """Break the name behind plus signs, into lines of the column's width."""
    lines = [""]
    for step in re.split(r"(?<=\+)", name):
        if lines[-1] and len(lines[-1]) + len(step) > _NAME_WIDTH:
            lines.append("")
        lines[-1] += step
    return "\n".join(lines)


def _range(tiers: tuple[int, ...]) -> str:
    """Return the first and the last tier: tiers are cumulative, so these say all."""
    return f"{tiers[0]}-{tiers[-1]}" if len(tiers) > 1 else "".join(map(str, tiers))
