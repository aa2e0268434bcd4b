"""The one place that builds a conversion: with Alma, or from almaflow's own steps."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from almaflow.conversions.alma.build import build_with_alma
from almaflow.conversions.alma.inputs import (
    Batch,
    spread,
)
from almaflow.conversions.converted import ConvertedModel

if TYPE_CHECKING:
    import torch

    from almaflow.records import PlannedConversion, WorkerTask


def build(
    planned: PlannedConversion,
    model: torch.nn.Module,
    batches: list[Batch],
    task: WorkerTask,
    skip_repairs: frozenset[str] = frozenset(),
) -> ConvertedModel:
    """Convert a model by a conversion's name.

    Args:
        planned: The conversion; its engine decides who builds.
        model: In eval mode, on the planned device, with float32 weights. It may be changed.
        batches: Example inputs on the planned device, cast as the conversion takes them.
        task: Thread count and logging level.
        skip_repairs: Names of repairs that are left out, to show what they are for.

    Raises:
        Exception: whatever the converter raises.
    """
    if planned.engine != "alma":
        return _build_here(planned, model, batches, task)
    return build_with_alma(planned, model, batches, task, skip_repairs)


def _build_here(
    planned: PlannedConversion, model: torch.nn.Module, batches: list[Batch], task: WorkerTask
) -> ConvertedModel:
    from almaflow.conversions import native

    work = native.BuildInputs(batches, task.hardware.threads, task.measure.streams)
    run = None
    if planned.builder:
        module, _, function = planned.builder.partition(":")
        run = getattr(importlib.import_module(module), function)
    built = native.build(planned.steps, model, work, run)
    forward = spread(built.forward) if len(batches[0]) > 1 else built.forward
    return ConvertedModel(forward, planned, model=built.model, witness=built.evidence, file_mb=built.file_mb)
