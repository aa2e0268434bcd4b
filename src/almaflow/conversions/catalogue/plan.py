"""Plan a job: resolve the requested conversions, or those of a tier, for this machine."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from almaflow.conversions.catalogue import tiers as catalogue
from almaflow.conversions.catalogue.alma import NAMES, README_DIFFERS
from almaflow.conversions.catalogue.availability import check
from almaflow.conversions.catalogue.families import FAMILIES, Family
from almaflow.conversions.catalogue.names import resolve
from almaflow.errors import UsageError
from almaflow.records import FailureKind, PlannedConversion
from almaflow.records.plan import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.conversions.catalogue.entry import Conversion
    from almaflow.records import Outcome
    from almaflow.records.plan import RuntimeTraits


def plan(
    requested: Sequence[str | int] | None,
    tier: int,
    device: str,
    *,
    allow_device_override: bool,
    dynamic: bool = False,
) -> tuple[PlannedConversion, ...]:
    """Return what a job will run, in order; conversions that cannot run here are included with the reason.

    Args:
        requested: Names, aliases or numbers, recorded exactly as they are written; None for those of the tier.
        tier: 1, 2 or 3; used only if ``requested`` is None.
        device: The requested device, ``cpu`` or ``cuda``.
        allow_device_override: Whether a conversion that supports only another device may run there.
        dynamic: Whether the converted models have to take other sizes than the example's.

    Raises:
        UsageError: a name is unknown, nothing is named, or there is no such tier or device.
    """
    if requested is None:
        return tuple(
            _planned(entry.name, entry, device, allow_device_override=allow_device_override, dynamic=dynamic)
            for entry in catalogue.tier(tier, device)
        )
    if not requested:
        message = "conversions=[]: names nothing to run; name at least one, or leave it out to run the tier"
        raise UsageError(message)
    found = resolve(requested)
    _warn(requested, found)
    return tuple(
        _planned(spelling, entry, device, allow_device_override=allow_device_override, dynamic=dynamic)
        for spelling, entry in found
    )


def _warn(requested: Sequence[str | int], found: Sequence[tuple[str, Conversion]]) -> None:
    """Warn of numbers that mean something else in Alma's README, and of what was named twice."""
    warn = logging.getLogger("almaflow").warning
    for spelling, entry in found:
        number = entry.number
        if number is not None and spelling == str(number) and number in README_DIFFERS:
            line = "conversions: %s is %s, as in Alma's code; in Alma's README that number is %s, so write the name"
            warn(line, spelling, entry.name, NAMES[number + 1])
    if (twice := len(requested) - len(found)) > 0:
        warn("conversions: %d of the %d names stand for one that is there already, and run once", twice, len(requested))


def _planned(
    requested: str, entry: Conversion, device: str, *, allow_device_override: bool, dynamic: bool
) -> PlannedConversion:
    availability = check(entry, device, allow_device_override=allow_device_override)
    if dynamic and entry.fixed_sizes and availability.available:
        availability = replace(availability, reason=entry.fixed_sizes, kind=FailureKind.UNSUPPORTED)
    return PlannedConversion(
        name=entry.name,
        requested=requested,
        family=entry.family,
        steps=entry.steps,
        engine=entry.engine,
        device=availability.device,
        dtype=entry.dtype,
        input_dtype=entry.input_dtype,
        device_override=availability.device_override,
        unavailable=availability.reason,
        unavailable_kind=availability.kind,
        install=availability.install,
        builder=entry.builder,
        traits=entry.traits,
    )


def with_traits(outcome: Outcome) -> Outcome:
    """Add the traits to an outcome from a file or the store of an older almaflow, which lacks them."""
    planned = planned_with_traits(outcome.planned)
    return outcome if planned is outcome.planned else replace(outcome, planned=planned)


def planned_with_traits(planned: PlannedConversion) -> PlannedConversion:
    """Add the traits to a planned conversion of an older almaflow."""
    if planned.traits != UNKNOWN:
        return planned
    # An older almaflow took the traits of a plug-in from its family; no runtimes of its own were recorded.
    return replace(planned, traits=traits_of("" if planned.builder else planned.name, planned.family))


@cache
def traits_of(name: str, family: str) -> RuntimeTraits:
    """Return the traits of a conversion, or of its family if the catalogue no longer has the conversion."""
    entry: Conversion | Family = FAMILIES.get(family, Family())
    entry = next((conversion for conversion in catalogue.everything() if conversion.name == name), entry)
    return entry.traits
