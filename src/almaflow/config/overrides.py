"""Overrides as Hydra's grammar wants them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from itertools import product
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString

from almaflow.config.files import GROUPS, meant
from almaflow.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

_LIMIT = re.compile(r"^(?:\+{0,2}|~)choose\.(?:max|min)\.[^=]*")
_NAMED = re.compile(r"(?P<group>\+{0,2}(?:model|hardware))=(?P<names>[^()\[\]{}$\\]+)")
_NUMBERED = re.compile(
    rf"(?P<group>\+{{0,2}}(?:{'|'.join(GROUPS)}))=(?:(?P<plain>[0-9,\s]+)|choice\((?P<choice>[0-9,\s]+)\))"
)


def override(key: str, value: object) -> str:
    """One override that gives a key this value: ``predicted_latency_ms=4.2``, ``conversions=['EAGER',3]``.

    Args:
        key: a key with dots, or a group.
        value: None, a bool, a number, text, a path, or a list or tuple of these.

    Raises:
        UsageError: the value is of another kind.
    """
    return f"{key}={_element(key, value)}"


def _element(key: str, value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):  # numpy's too
        return repr(float(value))
    if isinstance(value, (str, os.PathLike)):
        # Text is text: what looks like an interpolation is escaped, backslashes before it too.
        text = re.sub(r"(\\*)\$\{", r"\1\1\\${", os.fspath(value))
        return QuotedString(text, Quote.single).with_quotes()
    if isinstance(value, Sequence):
        return f"[{','.join(_element(key, part) for part in value)}]"
    message = f"{key}: is a {type(value).__name__}, and must be text, a number or a list of these"
    raise UsageError(message)


def choose_settings(choose: Mapping[str, Any]) -> dict[str, object]:
    """Return the settings of ``choose`` by their keys: ``{"choose.max.latency/p99": 20}``.

    Args:
        choose: Limits by metric under ``max`` and ``min``, and the metric ``by`` which the best is chosen.

    Raises:
        UsageError: there is another key, or the limits are no mapping.
    """
    settings: dict[str, object] = {}
    for key, value in choose.items():
        if key == "by":
            settings["choose.by"] = value
        elif key in {"max", "min"} and isinstance(value, Mapping):
            settings |= {f"choose.{key}.{name}": limit for name, limit in value.items()}
        else:
            message = f"choose: {key!r} is none of max and min, with limits by metric, and by, with a metric"
            raise UsageError(message)
    return settings


def as_hydra_reads(overrides: Sequence[str], *more: Path) -> list[str]:
    """Return overrides as people write them in Hydra's grammar: names of choices, numbers as names, metrics as keys.

    Args:
        overrides: Overrides, and flags, which stay as they are.
        more: Further configuration directories, whose names stand for themselves.
    """
    return quote_numbers(choose_names([_LIMIT.sub(_dotted, each) for each in overrides], *more))


def _dotted(match: re.Match[str]) -> str:
    """Write a metric as a path of keys: ``choose.max.latency/p99`` is none of Hydra's keys, with ``.p99`` it is."""
    return match[0].replace("/", ".")


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """Return every combination of values in commas, as Hydra's own sweeper makes them: ``hardware=a100,h100``.

    Raises:
        OverrideParseException: an override is not of Hydra's grammar.
    """
    parser = OverridesParser.create()
    parts = [
        [f"{each.get_key_element()}={value}" for value in each.sweep_string_iterator()]
        if each.is_sweep_override()
        else [str(each.input_line)]
        for each in parser.parse_overrides(as_hydra_reads(overrides))
    ]
    return [list(combination) for combination in product(*parts)]


def quote_numbers(overrides: list[str]) -> list[str]:
    """Quote the numbers that are names of choices, which Hydra refuses as numbers: ``tier=2`` becomes ``tier='2'``.

    Sweeps too: ``tier=1,2`` and ``tier=choice(1,2)`` become ``tier='1','2'``. Everything else is left as it is.
    """
    return [_quoted(match) if (match := _NUMBERED.fullmatch(override)) else override for override in overrides]


def choose_names(overrides: Sequence[str], *more: Path) -> list[str]:
    """Return the overrides with models and machines by the names of their choices: ``model=ResNet-18``.

    A name that means none is left for Hydra to refuse.

    Args:
        overrides: Overrides in Hydra's grammar.
        more: Further configuration directories, whose names stand for themselves.
    """
    return [_chosen(match, more) if (match := _NAMED.fullmatch(each)) else each for each in overrides]


def _chosen(match: re.Match[str], more: Sequence[Path]) -> str:
    group = match["group"]
    given = [name.strip() for name in match["names"].split(",")]
    chosen = []
    for name in given:
        bare = name[1:-1] if name[:1] in {"'", '"'} and name[-1:] == name[:1] else name
        found = meant(group.lstrip("+"), bare, *more)
        chosen.append(name if found == bare else found)
    return match[0] if chosen == given else f"{group}={','.join(chosen)}"


def _quoted(match: re.Match[str]) -> str:
    # As a plain list, since the sweeper takes the quotes off what stands in choice(...).
    values = match["plain"] or match["choice"]
    return f"{match['group']}={re.sub(r'[0-9]+', lambda number: repr(number[0]), values)}"
