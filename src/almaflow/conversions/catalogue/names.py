"""Look up the entries of the catalogue that a user requested."""

from __future__ import annotations

import difflib
from functools import cache
from typing import TYPE_CHECKING

from almaflow.conversions.catalogue.alma import ALMA
from almaflow.conversions.catalogue.tiers import everything
from almaflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.conversions.catalogue.entry import Conversion

_NEAREST = 3
_LONGEST_SHOWN = 80


def _key(text: str) -> str:
    return text.strip().casefold().replace("-", "_")


@cache
def _spellings() -> dict[str, Conversion]:
    """Return entries by name and alias, without regard to case."""
    return {_key(spelling): entry for entry in everything() for spelling in (entry.name, *entry.aliases)}


@cache
def _index() -> dict[str, Conversion]:
    """Return entries by name, alias and number."""
    return _spellings() | {str(entry.number): entry for entry in everything() if entry.number is not None}


def resolve(requested: Sequence[str | int], setting: str = "conversions") -> list[tuple[str, Conversion]]:
    """Return the requested entries in order, each with the user's spelling; one requested twice comes once.

    Args:
        requested: Names or aliases in any case, or Alma's numbers.
        setting: The setting that they come from, for the message.

    Raises:
        UsageError: names are not in the catalogue; the error lists all of them, each with the nearest names.
    """
    texts = [requested] if isinstance(requested, str) else [str(item) for item in requested]
    unknown = list(dict.fromkeys(text for text in texts if _key(text) not in _index()))
    if unknown:
        raise UsageError(_complaint(setting, texts, unknown))
    entries: dict[str, tuple[str, Conversion]] = {}
    for text in texts:
        conversion = _index()[_key(text)]
        entries.setdefault(conversion.name, (text.strip(), conversion))
    return list(entries.values())


def nearest(text: str) -> list[str]:
    """Return the names of the catalogue that a misspelt one may mean, the best first."""
    matches = difflib.get_close_matches(_key(text)[:_LONGEST_SHOWN], _spellings(), n=3 * _NEAREST, cutoff=0.0)
    return list(dict.fromkeys(_index()[match].name for match in matches))[:_NEAREST]


def _complaint(setting: str, texts: list[str], unknown: list[str]) -> str:
    setting = f"{setting}=[{','.join(map(_shown, texts))}]" if len(texts) <= len(ALMA) else setting
    if len(unknown) == 1:
        fault = f"unknown conversion {_shown(unknown[0])}; {_hint(unknown[0])}"
    else:
        fault = "unknown conversions " + ", ".join(f"{_shown(text)} ({_hint(text)})" for text in unknown)
    return f"{setting}: {fault}; all names: almaflow conversions"


def _hint(text: str) -> str:
    if text.strip().removeprefix("-").isdigit():
        return f"the numbers are 0 to {len(ALMA) - 1}"
    return f"nearest: {', '.join(nearest(text))}"


def _shown(text: str) -> str:
    """Return the text as the user wrote it, shortened to one line."""
    text = text if text.isprintable() and text.strip() else repr(text)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
