"""Reads the setting ``keep``: which converted models of a job stay on disk."""

from __future__ import annotations

from dataclasses import dataclass
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


NOTHING = Keep()


def with_logged(keep: Any, log_models: str) -> Any:
    """Return the setting ``keep``, so that what is to be logged is kept: logging reads it from there.

    Conversions that ``keep`` names stay those; they are what is logged.
    """
    word = str(keep or NONE).lower()
    return max(word, log_models, key=LEVELS.index) if word in LEVELS else keep


def keep_of(setting: Any, plan: Sequence[PlannedConversion], model: ModelSpec) -> Keep:
    """Return what a setting asks for of a plan.

    Args:
        setting: ``best``, ``all``, ``none``, a conversion, or a list of conversions.
        plan: The job's conversions.
        model: The job's model.

    Raises:
        UsageError: a conversion is unknown, not in the plan, or cannot be exported.
    """
    word = str(setting).lower()
    if word == NONE or not setting:
        return NOTHING
    formats = {each.name: export_format(each, model) for each in plan if not each.unavailable}
    possible = frozenset(name for name, found in formats.items() if found.format)
    if word == BEST:
        return Keep(possible, only_best=True)
    if word == ALL:
        return Keep(possible, not_exportable=tuple(name for name in formats if name not in possible))
    planned = {each.name for each in plan}
    named = [entry.name for _, entry in resolve(setting if isinstance(setting, list) else [setting], "keep")]
    for name in named:
        if name not in planned:
            message = f"keep={name}: the job does not run it; its conversions are {', '.join(sorted(planned))}"
            raise UsageError(message)
        if name in formats and name not in possible:
            message = f"keep={name}: cannot be exported: {formats[name].reason}"
            raise UsageError(message)
    return Keep(frozenset(named) & possible)
