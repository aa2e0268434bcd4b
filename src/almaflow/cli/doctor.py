"""``almaflow doctor``: what of the installation works, and what to do about the rest."""

from __future__ import annotations

import json
from dataclasses import asdict

import click
from rich.console import Console
from rich.text import Text

from almaflow.cli.checks import Finding, check_up


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object: whether all is well, and the findings.")
def doctor(as_json: bool) -> int:  # noqa: FBT001 - click passes a flag so
    """Check the installation: versions, extras, compiler, store, Alma, and a tiny model in a worker.

    Exit code 1 where something is to be done.
    """
    console = Console(quiet=as_json)
    findings = []
    for finding in check_up():
        findings.append(finding)
        _show(console, finding)
    well = all(finding.ok for finding in findings)
    if as_json:
        click.echo(json.dumps({"ok": well, "findings": [asdict(finding) for finding in findings]}, indent=1))
    console.print(Text("\nAll is well." if well else "\nSomething needs attention."))
    return 0 if well else 1


def _show(console: Console, finding: Finding) -> None:
    mark = ("ok      ", "green") if finding.ok else ("problem ", "bold red")
    console.print(Text.assemble(mark, (f"{finding.name}: ", "bold"), finding.detail), soft_wrap=True)
    if finding.todo:
        console.print(Text(f"        {finding.todo}"), soft_wrap=True)
