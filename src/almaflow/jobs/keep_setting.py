"""Reads the setting ``keep``: which converted models of a job stay on disk."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from almaflow.conversions.catalogue.formats import export_format
from almaflow.conversions.catalogue.names import resolve
from almaflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.records import ModelSpec, PlannedConversion

NONE, BEST, ALL = LEVELS = "none", "best", "all"
"""Words of the settings ``keep`` and ``log_models``: each asks for all that the one before it does."""


@dataclass(frozen=True)
class Keep:
    """The conversions whose models may be kept."""

    names: frozenset[str] = frozenset()
    """Those that can be exported and are asked for."""
    only_best: bool = False
    """Whether only the fastest of them is kept."""
    not_exportable: tuple[str, ...] = ()
    """Those of the plan that ``all`` asks for and that cannot be exported."""
    spares_earlier: bool = False
    """Whether what an earlier attempt has kept stays, since nothing is asked for."""
    limit_mb: float | None = None
    """Size of a converted model above which it is not kept; None: any."""


NOTHING = Keep()


def with_logged(keep: Any, log_models: str) -> Any:
    """Return the setting ``keep``, so that what is to be logged is kept: logging reads it from there.

    Conversions that ``keep`` names stay those; they are what is logged.
    """
    if keep is None and log_models != ALL:
        return None  # the best, which may be logged
    word = str(keep or NONE).lower()
    return max(word, log_models, key=LEVELS.index) if word in LEVELS else keep


def keep_of(setting: Any, plan: Sequence[PlannedConversion], model: ModelSpec, limit_mb: float | None = None) -> Keep:
    """Return what a setting asks for of a plan.

    Args:
        setting: ``best``, ``all``, ``none``, a conversion, or a list of conversions; None: ``best``, beside what an
            earlier attempt has kept.
        plan: The job's conversions.
        model: The job's model.
        limit_mb: Size of a converted model above which it is not kept; None: any.

    Raises:
        UsageError: a conversion is unknown, not in the plan, or cannot be exported.
    """
    word = BEST if setting is None else str(setting).lower()
    if word == NONE or not (setting or word == BEST):
        return NOTHING
    formats = {each.name: export_format(each, model) for each in plan if not each.unavailable}
    possible = frozenset(name for name, found in formats.items() if found.format)
    if word == BEST:
        return Keep(possible, only_best=True, spares_earlier=setting is None, limit_mb=limit_mb)
    if word == ALL:
        lacking = tuple(name for name in formats if name not in possible)
        return Keep(possible, not_exportable=lacking, limit_mb=limit_mb)
    planned = {each.name for each in plan}
    named = _named(setting)
    for name in named:
        if name not in planned:
            message = f"keep={name}: the job does not run it; its conversions are {', '.join(sorted(planned))}"
            raise UsageError(message)
        if name in formats and name not in possible:
            message = f"keep={name}: cannot be exported: {formats[name].reason}"
            raise UsageError(message)
    return Keep(frozenset(named) & possible, limit_mb=limit_mb)


def _named(setting: Any) -> list[str]:
    """Return the conversions by the names of the catalogue.

    Raises:
        UsageError: one is unknown.
    """
    try:
        return [entry.name for _, entry in resolve(setting if isinstance(setting, list) else [setting], "keep")]
    except UsageError as error:
        words = get_close_matches(str(setting).lower(), (BEST, ALL, NONE), n=1)
        if isinstance(setting, list) or not words:
            raise
        message = f"keep={setting}: is neither a conversion nor best, all or none; the nearest is {words[0]}"
        raise UsageError(message) from error
