"""``almaflow models``: what the configs offer, and how any other model is given."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from almaflow.cli.console import wide_console
from almaflow.config.files import choices, model_sizes

OTHERS = """\
GFLOPs: 10^9 FLOPs of one forward call on one sample; a multiplication with its addition is two.
Any other classification model of torchvision:
  almaflow run model=torchvision model.arch=regnet_y_400mf
Any callable that returns a module, with its inputs (shapes without the batch dimension):
  almaflow run model=custom model._target_=my_package.MyModel 'model.inputs=[{shape: [3, 32, 32]}]'
A file of your own, conf/model/mine.yaml:
  almaflow run --config-dir conf model=mine"""

_UNKNOWN = {"parameters": None, "gflops": None}
"""The size of a model that the config leaves to its user."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def models(as_json: bool) -> None:  # noqa: FBT001 - click passes a flag so
    """List the models that the configs offer, and how any other one is given."""
    sizes = model_sizes()
    listed = [_fields(name, values) | (sizes.get(name) or _UNKNOWN) for name, values in choices("model").items()]
    if as_json:
        click.echo(json.dumps(listed, indent=1))
        return
    console = wide_console(100)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    table.add_column("params", justify="right", no_wrap=True)
    table.add_column("GFLOPs", justify="right", no_wrap=True)
    table.add_column("builds", overflow="fold")
    table.add_column("inputs, without the batch dimension", overflow="fold")
    for entry in listed:
        size = [_million(entry["parameters"]), "" if entry["gflops"] is None else f"{entry['gflops']:.3g}"]
        table.add_row(*map(Text, (entry["name"], *size, entry["builds"], _inputs(entry))))
    console.print(table)
    console.print()
    for line in OTHERS.splitlines():
        console.print(Text(line), soft_wrap=True)  # unbroken, so that it can be copied


def _fields(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of the list: the file's name, its values, and what they build in words."""
    target, arch = values.get("_target_"), values.get("arch")
    if target:
        builds = str(target)
    elif arch:
        builds = f"torchvision's {arch}"
    elif "arch" in values:
        builds = "any classification model of torchvision: model.arch=NAME"
    else:
        builds = "any callable that returns a module: model._target_=PACKAGE.CALLABLE"
    return {
        "name": name,
        "builds": builds,
        "target": target,
        "arch": arch,
        "torchvision": not target and "arch" in values,
        "kwargs": values.get("kwargs") or {},
        "inputs": values.get("inputs"),
    }


def _million(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.3g} M"


def _inputs(entry: dict[str, Any]) -> str:
    inputs = entry["inputs"]
    if inputs is None:
        return "one image of the size that it expects" if entry["torchvision"] else "model.inputs=[{shape: [...]}]"
    return ", ".join(" x ".join(map(str, each["shape"])) for each in inputs)
