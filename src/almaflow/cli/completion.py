"""What the shell is told for completion, beside what Hydra tells it."""

from __future__ import annotations

import os
import re

import click

from almaflow.cli import COMMANDS
from almaflow.config.overrides import quote_numbers

_NAMES = re.compile(r"conversions=\[(?:[^\]]*,)?(?P<begun>[^\],]*)$")


def answered() -> bool:
    """Answer where the words are none of Hydra's: commands, and names inside ``conversions=[``.

    Otherwise give Hydra the line as it would be without ``run``.
    """
    line = os.environ.get("COMP_LINE")
    if line is None:  # the script is asked for, not words
        return False
    program, _, rest = line.lstrip(" ").partition(" ")
    command, space, overrides = rest.lstrip(" ").partition(" ")
    words = overrides.split(" ")
    os.environ["COMP_LINE"] = " ".join([program, *quote_numbers(words)])
    if command != "run" or not space:
        click.echo("" if space else " ".join(COMMANDS))
        return True
    if match := _NAMES.fullmatch(words[-1]):
        before, begun = words[-1][: match.start("begun")], match["begun"]
        click.echo(" ".join(f"{before}{name}" for name in _conversions(begun)))
        return True
    return False


def _conversions(begun: str) -> list[str]:
    from almaflow.conversions.catalogue.tiers import everything

    return [entry.name for entry in everything() if entry.name.startswith(begun.upper())]
