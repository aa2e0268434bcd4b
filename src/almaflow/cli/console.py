"""The console that commands print tables on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.report.console import PlainConsole

if TYPE_CHECKING:
    from rich.console import Console


def wide_console(width: int) -> Console:
    """Return a console on standard output, at least ``width`` columns wide where there is no terminal to ask."""
    console = PlainConsole()
    if not console.is_terminal:
        console.width = max(console.width, width)
    return console
