"""What every benchmark needs: options, one clear line for an error, tables, JSON."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

HERE = Path(__file__).resolve().parent

FOUR = ("EAGER", "COMPILE_INDUCTOR_DEFAULT", "ONNX_CPU", "COMPILE_OPENVINO")
"""The conversions that have a trusted tool to be compared with."""

WIDTH = 130
"""Columns of a table that does not go to a terminal."""

USAGE, INTERRUPTED = 2, 130


class BenchmarkError(Exception):
    """What the caller can mend, in one line."""


def run_script(main: Callable[[], None]) -> None:
    """Run a script: an error is one line on stderr, and an interrupt or a termination ends the children too."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from almaflow.errors import AlmaflowError

    name = Path(sys.argv[0]).name
    try:
        main()
    except (BenchmarkError, AlmaflowError) as error:
        sys.stderr.write(f"{name}: {error}\n")
        sys.exit(USAGE)
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: interrupted\n")
        sys.exit(INTERRUPTED)


def make_parser(description: str | None, *, overrides: str | None = None) -> argparse.ArgumentParser:
    """A parser with ``--json``.

    Args:
        description: The script's docstring.
        overrides: What overrides of ``almaflow run`` after ``--`` are good for; None where the script takes none.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=_new_file, metavar="FILE", help="write the figures there")
    if overrides:
        parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=f"after --, {overrides}")
    return parser


def at_least(least: int) -> Callable[[str], int]:
    """An argument type: whole numbers from ``least`` on."""

    def count(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            message = f"{text!r} is not a whole number of at least {least}"
            raise argparse.ArgumentTypeError(message)
        return int(text)

    return count


def seconds(text: str) -> float:
    """An argument type: a time of more than nothing."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        message = f"{text!r} is not a number of seconds"
        raise argparse.ArgumentTypeError(message)
    return value


def _new_file(text: str) -> Path:
    """Found out now, not after an hour of measuring."""
    path = Path(text).expanduser()
    if path.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        message = f"{text}: cannot be written"
        raise argparse.ArgumentTypeError(message)
    return path


def console() -> Console:
    """Where tables go: stdout, wide enough for them where it is a file."""
    from rich.console import Console

    found = Console()
    return found if found.is_terminal else Console(width=WIDTH)


def say(text: str) -> None:
    """Tell on stderr what goes on; stdout has the tables alone."""
    sys.stderr.write(f"{text}\n")


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> None:
    """Print a table whose first column is text and whose other columns are figures.

    Args:
        title: Above it.
        columns: Their headings, with units.
        rows: The cells; an empty one is not known.
        note: Below it.
    """
    from rich.table import Table
    from rich.text import Text

    out = console()
    table = Table(title=title, title_justify="left", caption=note or None, caption_justify="left")
    for number, heading in enumerate(columns):
        figures = all(cells[number][:1] in {"", "-", *"0123456789"} for cells in rows)
        table.add_column(heading, justify="right" if figures and number else "left", no_wrap=not number)
    for cells in rows:
        table.add_row(*(Text(cell) for cell in cells))
    out.print(table)


def figure(value: float | None, digits: int = 2) -> str:
    """A figure for a cell; empty where it is not known."""
    return "" if value is None else f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share or a relative difference as percent for a cell; empty where it is not known."""
    return "" if value is None else f"{100 * value:.{digits}f}%"


def save(arguments: argparse.Namespace, results: object) -> None:
    """Write the figures to ``--json``, with what was asked for and the machine; nothing where it was not given.

    Paths among the arguments are left out: they say nothing elsewhere.
    """
    if arguments.json is None:
        return
    from almaflow.machine import environment

    asked = {key: value for key, value in vars(arguments).items() if not isinstance(value, Path)}
    data = {
        "benchmark": Path(sys.argv[0]).stem,
        "arguments": asked,
        "environment": environment(git=False),
        "results": results,
    }
    arguments.json.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
