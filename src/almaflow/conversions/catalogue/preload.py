"""List the modules that the fork server imports for a job, so that no worker has to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.records import ModelSpec, PlannedConversion

ALWAYS = ("torch", "almaflow.worker.conversion", "almaflow.worker.reference", "threadpoolctl")


def modules_for(model: ModelSpec, plan: Sequence[PlannedConversion]) -> tuple[str, ...]:
    """Return the modules that the workers of this plan import anyway, in the order to import them.

    None of them may compute or start a thread that computes when it is imported.
    """
    model_modules = ("torchvision",) if model.arch else ()
    plan_modules = (module for planned in plan if not planned.unavailable for module in planned.traits.preload)
    return tuple(dict.fromkeys((*ALWAYS, *model_modules, *plan_modules)))
