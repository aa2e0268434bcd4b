"""Which machine may run which order, and what to say where none may."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement

from almaflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from almaflow.records.order import FleetMachine, MachineEnvironment, Order


def suits(order: Order, machine: FleetMachine) -> bool:
    """Return whether the machine may run the order: by its kind, its ID, and the environment that is asked for."""
    return (
        (order.kind is None or order.kind in machine.kinds)
        and (order.machine_id is None or order.machine_id == machine.machine_id)
        and (order.environment is None or environment_for(order.environment, machine) is not None)
    )


def environment_for(wanted: str, machine: FleetMachine) -> MachineEnvironment | None:
    """Return the machine's first environment of this name, or that meets this requirement; None where none does."""
    named = next((each for each in machine.environments if each.name == wanted), None)
    if named or (requirement := _requirement(wanted)) is None:
        return named
    for each in machine.environments:
        version = each.versions.get(requirement.name)
        if version and requirement.specifier.contains(version, prereleases=True):
            return each
    return None


@cache
def _requirement(text: str) -> Requirement | None:
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return None
    return requirement if requirement.specifier else None  # a bare word is a name


def check_offered(order: Order, machines: Sequence[FleetMachine]) -> None:
    """Refuse an order that none of the machines may run.

    Raises:
        UsageError: so it is; the line says who offers what.
    """
    if not any(suits(order, each) for each in machines):
        raise UsageError(refusal(order, machines))


def refusal(order: Order, machines: Sequence[FleetMachine]) -> str:
    """Say why none of the machines may run the order, and what they offer."""
    if not machines:
        return "the fleet has no machine: join one with almaflow fleet join"
    if order.kind is not None and not any(order.kind in each.kinds for each in machines):
        return f"hardware={order.kind}: no machine of the fleet is one; it has {offered(machines)}"
    of_kind = [each for each in machines if order.kind is None or order.kind in each.kinds]
    if order.machine_id is not None and all(each.machine_id != order.machine_id for each in of_kind):
        ids = ", ".join(sorted(each.machine_id for each in of_kind))
        return f"machine {order.machine_id}: no such {order.kind or 'machine'} is in the fleet; it has {ids}"
    names = {name: None for each in of_kind for name in _named(each)}
    wanted = f"environment {order.environment}: no {order.kind or 'machine'} of the fleet has it"
    return f"{wanted}; there are {', '.join(names) or 'none'}"


def offered(machines: Iterable[FleetMachine]) -> str:
    """List the kinds that the machines offer, with their numbers: ``g4dn_xlarge, r6i_large (3)``."""
    counts = Counter(kind for each in machines for kind in each.kinds)
    return ", ".join(kind if number == 1 else f"{kind} ({number})" for kind, number in sorted(counts.items()))


def _named(machine: FleetMachine) -> list[str]:
    return [
        f"{each.name} (torch {each.versions['torch']})" if "torch" in each.versions else each.name
        for each in machine.environments
    ]
