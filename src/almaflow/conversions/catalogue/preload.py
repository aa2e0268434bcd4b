"""What the clean server imports for a job, so that no worker has to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.records import ModelSpec, PlannedConversion

ALWAYS = ("torch", "almaflow.worker.conversion", "almaflow.worker.reference", "threadpoolctl")


def modules_for(model: ModelSpec, plan: Sequence[PlannedConversion]) -> tuple[str, ...]:
    """The modules that the workers of this plan import anyway, in the order to import them.

    None of them may compute or start a thread that computes when it is imported.
    """
    of_model = ("torchvision",) if model.arch else ()
    of_plan = (module for each in plan if not each.unavailable for module in each.traits.preload)
    return tuple(dict.fromkeys((*ALWAYS, *of_model, *of_plan)))
