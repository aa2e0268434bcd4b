"""What a job will run: the conversions asked for, or a tier's, resolved for this machine."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from almaflow.conversions.catalogue import tiers as catalogue
from almaflow.conversions.catalogue.availability import check
from almaflow.conversions.catalogue.families import FAMILIES, Family
from almaflow.conversions.catalogue.names import resolve
from almaflow.errors import UsageError
from almaflow.records import PlannedConversion
from almaflow.records.plan import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.conversions.catalogue.entry import Conversion
    from almaflow.records import Outcome
    from almaflow.records.plan import RuntimeTraits


def plan(
    requested: Sequence[str | int] | None, tier: int, device: str, *, allow_device_override: bool
) -> tuple[PlannedConversion, ...]:
    """What will run, in order; what cannot run here is in it with the reason.

    Args:
        requested: Names, aliases or numbers, kept exactly as they are asked for; None for the tier's.
        tier: 1, 2 or 3; looked at only where nothing is requested.
        device: ``cpu`` or ``cuda``, as the hardware is.
        allow_device_override: Whether a conversion that knows another device only may run there.

    Raises:
        UsageError: a name is unknown, nothing is named, or there is no such tier or device.
    """
    if requested is None:
        return tuple(
            _planned(entry.name, entry, device, allow_device_override=allow_device_override)
            for entry in catalogue.tier(tier, device)
        )
    if not requested:
        message = "conversions=[]: names nothing to run; name at least one, or leave it out to run the tier"
        raise UsageError(message)
    return tuple(
        _planned(asked, entry, device, allow_device_override=allow_device_override)
        for asked, entry in resolve(requested)
    )


def _planned(requested: str, entry: Conversion, device: str, *, allow_device_override: bool) -> PlannedConversion:
    here = check(entry, device, allow_device_override=allow_device_override)
    return PlannedConversion(
        name=entry.name,
        requested=requested,
        family=entry.family,
        steps=entry.steps,
        engine=entry.engine,
        device=here.device,
        dtype=entry.dtype,
        input_dtype=entry.input_dtype,
        device_override=here.device_override,
        unavailable=here.reason,
        unavailable_kind=here.kind,
        install=here.install,
        builder=entry.builder,
        traits=entry.traits,
    )


def with_traits(outcome: Outcome) -> Outcome:
    """Give an outcome from a file or the store the traits that those of an older almaflow do not have."""
    planned = planned_with_traits(outcome.planned)
    return outcome if planned is outcome.planned else replace(outcome, planned=planned)


def planned_with_traits(planned: PlannedConversion) -> PlannedConversion:
    """Give a planned conversion of an older almaflow its traits."""
    if planned.traits != UNKNOWN:
        return planned
    # What another package had registered went by its family, and by no version of its own.
    return replace(planned, traits=traits_of("" if planned.builder else planned.name, planned.family))


@cache
def traits_of(name: str, family: str) -> RuntimeTraits:
    """The traits of a conversion of the catalogue, or of the family of one that it has no more."""
    entry: Conversion | Family = FAMILIES.get(family, Family())
    entry = next((each for each in catalogue.everything() if each.name == name), entry)
    return entry.traits
