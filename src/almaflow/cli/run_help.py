"""``almaflow run --help``: every setting with its default and its meaning, from the schema."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, Any, get_type_hints

from rich.table import Table
from rich.text import Text

from almaflow.cli.console import wide_console
from almaflow.config import files, schema
from almaflow.config.composition import compose

if TYPE_CHECKING:
    from collections.abc import Iterator

USAGE = """\
almaflow run [GROUP=CHOICE ...] [KEY=VALUE ...] [-m]

Measures a model through its conversions, each one an MLflow run.
"""
FLAGS = """
Flags, which are Hydra's
  -m                  run every combination of values given with commas: -m model=resnet18,mobilenet_v2 batch_size=1,8
  --cfg job           print the configuration and run nothing
  --config-dir DIR    find configurations of your own in DIR/model/NAME.yaml and its like
  --hydra-help        list all flags

Completion of commands, groups, keys, and of names inside conversions=[...], in this shell:
  eval "$(almaflow run -sc install=bash)"

Exit codes: 0 done, 1 the job failed, 2 wrong input, 3 no conversion keeps to the limits of choose, 130 interrupted."""


def show_help() -> None:
    """Print the groups with their choices, then every key with its default and its meaning."""
    console = wide_console(100)
    console.print(Text(USAGE))
    console.print(_groups())
    console.print(Text("\nSettings, with their defaults", style="bold"))
    table = _table()
    for key, default, meaning in settings():
        table.add_row(Text(f"{key}={default}"), Text(meaning))
    console.print(table)
    console.print(Text(FLAGS))


def settings() -> list[tuple[str, str, str]]:
    """Return each setting: its key with dots, its default as it is typed, and its meaning with its choices."""
    return list(_settings(compose([]), ""))


def _settings(config: Any, prefix: str) -> Iterator[tuple[str, str, str]]:
    kind = type(config)
    meanings, types = _meanings()[kind.__name__], get_type_hints(kind)
    for each in fields(config):
        value = getattr(config, each.name)
        if is_dataclass(value):
            yield from _settings(value, f"{prefix}{each.name}.")
            continue
        kind_of_value = types[each.name]
        words = [str(word) for word in kind_of_value] if _is_enum(kind_of_value) else []
        choices = f" One of {', '.join(words)}." if words else ""
        yield f"{prefix}{each.name}", _typed(value), f"{meanings[each.name]}{choices}"


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def _meanings() -> dict[str, dict[str, str]]:
    """Return the docstrings below the fields of each dataclass of the schema, in one line."""
    found: dict[str, dict[str, str]] = {}
    for each in ast.parse(inspect.getsource(schema)).body:
        if not isinstance(each, ast.ClassDef):
            continue
        meanings = found.setdefault(each.name, {})
        for field, below in pairwise(each.body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    meanings[name] = " ".join(text.replace("``", "").replace("None:", "null:").split())
    return found


def _typed(value: Any) -> str:
    """Return a value as it is typed on the command line; long ones are left out."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return "..." if isinstance(value, dict | list) and value else str(value)


def _groups() -> Table:
    table = _table()
    table.title, table.title_style, table.title_justify = "Groups and their choices", "bold", "left"
    for group in files.GROUPS:
        table.add_row(Text(f"{group}="), Text(", ".join(files.names(group))))
    return table


def _table() -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=False, overflow="fold")
    table.add_column(overflow="fold")
    return table
