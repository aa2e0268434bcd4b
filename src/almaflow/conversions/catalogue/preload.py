"""List the modules that the fork server imports for a job, so that no worker has to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.conversions.catalogue.families import TOOLCHAIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.records import ModelSpec, PlannedConversion

ALWAYS = ("torch", "almaflow.worker.conversion", "almaflow.worker.reference", "threadpoolctl")


def modules_for(model: ModelSpec, plan: Sequence[PlannedConversion]) -> tuple[str, ...]:
    """Return the modules that the workers of this plan import anyway, in the order to import them.

    None of them may compute or start a thread that computes when it is imported. The one for the C++ compiler is there
    for conversions on the CPU only: for GPUs inductor has other compilers.
    """
    model_modules = ("torchvision",) if model.arch else ()
    plan_modules = (
        module
        for planned in plan
        if not planned.unavailable
        for module in planned.traits.preload
        if module != TOOLCHAIN or planned.device == "cpu"
    )
    return tuple(dict.fromkeys((*ALWAYS, *model_modules, *plan_modules)))
