"""From what a user asked for to entries of the catalogue."""

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
    return text.strip().casefold()


@cache
def _spellings() -> dict[str, Conversion]:
    """Entries by name and alias, in one spelling of upper and lower case."""
    return {_key(spelling): entry for entry in everything() for spelling in (entry.name, *entry.aliases)}


@cache
def _index() -> dict[str, Conversion]:
    """The same, and by number."""
    return _spellings() | {str(entry.number): entry for entry in everything() if entry.number is not None}


def resolve(requested: Sequence[str | int]) -> list[tuple[str, Conversion]]:
    """The entries asked for, each with how it was asked for, in that order; what is asked twice comes once.

    Args:
        requested: Names or aliases in any case, or Alma's numbers.

    Raises:
        UsageError: some are not in the catalogue; all of them are named, each with the nearest names.
    """
    texts = [requested] if isinstance(requested, str) else [str(item) for item in requested]
    unknown = list(dict.fromkeys(text for text in texts if _key(text) not in _index()))
    if unknown:
        raise UsageError(_complaint(texts, unknown))
    found: dict[str, tuple[str, Conversion]] = {}
    for text in texts:
        conversion = _index()[_key(text)]
        found.setdefault(conversion.name, (text.strip(), conversion))
    return list(found.values())


def nearest(text: str) -> list[str]:
    """Names of the catalogue that a misspelt one may have meant, the best first."""
    matches = difflib.get_close_matches(_key(text)[:_LONGEST_SHOWN], _spellings(), n=3 * _NEAREST, cutoff=0.0)
    return list(dict.fromkeys(_index()[match].name for match in matches))[:_NEAREST]


def _complaint(texts: list[str], unknown: list[str]) -> str:
    asked = f"conversions=[{','.join(map(_shown, texts))}]" if len(texts) <= len(ALMA) else "conversions"
    if len(unknown) == 1:
        what = f"unknown conversion {_shown(unknown[0])}; {_hint(unknown[0])}"
    else:
        what = "unknown conversions " + ", ".join(f"{_shown(text)} ({_hint(text)})" for text in unknown)
    return f"{asked}: {what}; all names: almaflow conversions"


def _hint(text: str) -> str:
    if text.strip().removeprefix("-").isdigit():
        return f"the numbers are 0 to {len(ALMA) - 1}"
    return f"nearest: {', '.join(nearest(text))}"


def _shown(text: str) -> str:
    """As it was written, but never more than one line of it."""
    text = text if text.isprintable() and text.strip() else repr(text)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
