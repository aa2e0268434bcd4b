"""A choice among all pairs of a model and a conversion, since all of them take hours.

Each model meets each family of conversions, and each conversion meets each kind of model, at least once.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, TypeVar

from almaflow.conversions.catalogue.families import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.models.corpus.example import Example

    from almaflow.records import PlannedConversion

    T = TypeVar("T")

Said = dict[str, set[str]]
"""The conversions that a model went through, by its name."""


def family_of(planned: PlannedConversion) -> str:
    """The family that users see: two rows of the catalogue's may share one."""
    row = FAMILIES.get(planned.family)
    return (row.label if row else None) or planned.family


def covering(
    examples: Sequence[Example], plan: Sequence[PlannedConversion], said: Said
) -> dict[str, list[PlannedConversion]]:
    """Choose the conversions of each model, by its name, that are still to be run.

    Args:
        examples: The models.
        plan: The conversions.
        said: What was run before, which is not run again.
    """
    chosen: dict[str, list[PlannedConversion]] = {each.name: [] for each in examples}
    of_kind = _grouped(examples, lambda each: each.kind)
    of_family = _grouped(plan, family_of)
    for turn, (models, conversions) in enumerate(product(of_kind.values(), of_family.values())):
        new_models, new_conversions = _missing(models, conversions, said)
        # Turned, so that not every model meets the first conversion of each family.
        any_model, any_conversion = _turned(models, turn), _turned(conversions, turn)
        for i in range(max(len(new_models), len(new_conversions))):
            model = new_models[i] if i < len(new_models) else any_model[i % len(models)]
            conversion = new_conversions[i] if i < len(new_conversions) else any_conversion[i % len(conversions)]
            chosen[model.name].append(conversion)
    order = {each.name: place for place, each in enumerate(plan)}
    return {name: sorted(row, key=lambda each: order[each.name]) for name, row in chosen.items()}


def covered(examples: Sequence[Example], plan: Sequence[PlannedConversion], said: Said) -> str:
    """How much of that was run, in one sentence."""
    models = conversions = models_left = conversions_left = 0
    of_family = _grouped(plan, family_of)
    for of_kind, family in product(_grouped(examples, lambda each: each.kind).values(), of_family.values()):
        missing = _missing(of_kind, family, said)
        models, models_left = models + len(of_kind), models_left + len(missing[0])
        conversions, conversions_left = conversions + len(family), conversions_left + len(missing[1])
    names = {each.name for each in plan}
    counts = [len(said.get(each.name, set()) & names) for each in examples]
    return (
        f"{sum(counts)} verdicts, of {sum(map(bool, counts))} of {len(counts)} models and {len(plan)} conversions. "
        f"Of {models} pairs of a model and a family of conversions {models - models_left} were run, "
        f"of {conversions} pairs of a conversion and a kind of model {conversions - conversions_left}."
    )


def _missing(
    models: Sequence[Example], conversions: Sequence[PlannedConversion], said: Said
) -> tuple[list[Example], list[PlannedConversion]]:
    """The models of a kind that met none of a family, and the conversions of the family that met none of the kind."""
    family = {each.name for each in conversions}
    met = set[str]().union(*(said.get(each.name, set()) for each in models))
    without = [each for each in models if not family & said.get(each.name, set())]
    return without, [each for each in conversions if each.name not in met]


def _grouped(items: Iterable[T], group: Callable[[T], str]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {}
    for each in items:
        found.setdefault(group(each), []).append(each)
    return found


def _turned(items: list[T], turn: int) -> list[T]:
    start = turn % len(items)
    return items[start:] + items[:start]
