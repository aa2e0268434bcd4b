"""``almaflow hardware``: what this machine is, and which of the hardware configs describe it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from almaflow.cli.console import wide_console
from almaflow.config.files import choices
from almaflow.config.resolve import obstacle, resolve_hardware
from almaflow.config.schema import Device, HardwareConfig, JobConfig
from almaflow.machine import cpus, describe

if TYPE_CHECKING:
    from rich.console import Console

    from almaflow.machine import Machine


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object: the machine, and the list of configs.")
def hardware(as_json: bool) -> None:  # noqa: FBT001 - click passes a flag so
    """Show what this machine is, and which hardware configs match it."""
    here = describe()
    device = resolve_hardware(JobConfig()).device
    configs = [_fields(name, values) for name, values in choices("hardware").items()]
    if as_json:
        facts = asdict(here) | cpus.settings() | {"device": device}
        click.echo(json.dumps({"machine": facts, "configs": configs}, indent=1))
        return
    console = wide_console(100)
    _show_machine(console, here, device)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for heading in ("hardware=", "device", "here"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what it is", overflow="fold")
    for config in configs:
        mark = Text("yes", style="green") if config["matches"] else Text("no", style="red")
        about = config["description"] + (f"\n{config['reason']}" if config["reason"] else "")
        table.add_row(config["name"], config["device"], mark, Text(about.strip()))
    console.print()
    console.print(table)


def _fields(name: str, values: dict[str, Any]) -> dict[str, Any]:
    config = HardwareConfig(**values | {"device": Device(values.get("device", Device.auto))})
    reason = obstacle(config)
    return {
        "name": name,
        "device": str(config.device),
        "matches": reason is None,
        "reason": reason,
        "description": config.description or _GENERIC.get(name, ""),
        "cpu_match": config.cpu_match,
        "gpu_match": config.gpu_match,
        "threads": config.threads,
        "cpus": config.cpus,
    }


_GENERIC = {
    "auto": "This machine's GPU where PyTorch can use it, else its CPU",
    "cpu": "This machine's CPU",
    "cuda": "This machine's first GPU",
}
"""Descriptions that a config cannot have itself: they would stand for the machine's name in the results."""


def _show_machine(console: Console, here: Machine, device: str) -> None:
    gpus = [_gpu(gpu.name, gpu.memory_mb) for gpu in here.gpus] or ["none that NVIDIA's driver shows to this process"]
    settings = ", ".join(f"{name} {value}" for name, value in cpus.settings().items()).replace("smt", "SMT")
    lines = [
        ("CPU", f"{here.cpu}, {here.physical_cores} physical cores, {here.logical_cores} logical"),
        *([("settings", settings)] if settings else []),
        ("threads", f"{here.threads} for each measurement"),
        ("memory", f"{here.memory_gb:g} GB"),
        *[("GPU", gpu) for gpu in gpus],
        *([("driver", f"{here.driver}, CUDA up to {here.cuda}")] if here.driver else []),
        ("system", f"{here.os}, Python {here.python}"),
        ("device", f"{device}, with hardware=auto"),
    ]
    for name, value in lines:
        console.print(Text.assemble((f"{name:<8} ", "bold"), value), soft_wrap=True)


def _gpu(name: str, memory_mb: float | None) -> str:
    return name if memory_mb is None else f"{name}, {memory_mb / 1000:.0f} GB"
