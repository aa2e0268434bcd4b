"""Build a conversion with Alma or from almaflow's own steps."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from almaflow.conversions.alma.build import build_with_alma
from almaflow.conversions.converted import ConvertedModel
from almaflow.models.binding import bind
from almaflow.models.call_form import CallForm

if TYPE_CHECKING:
    import torch

    from almaflow.conversions.built.model import BuildInputs, BuiltModel
    from almaflow.records import PlannedConversion


def build(
    planned: PlannedConversion,
    model: torch.nn.Module,
    inputs: BuildInputs,
    log_level: str = "WARNING",
    skip_repairs: frozenset[str] = frozenset(),
) -> ConvertedModel:
    """Convert a model.

    Args:
        planned: The conversion; its engine decides which builder is used.
        model: In eval mode, on the planned device, with float32 weights; it takes a batch's tensors by position. It
            may be changed.
        inputs: Example inputs, threads and streams.
        log_level: Level of the root logger, by which Alma decides whether to print graphs.
        skip_repairs: Names of repairs that are not applied, to show their effect.

    Raises:
        Exception: whatever the converter raises.
    """
    model = bind(model, CallForm.flat(len(inputs.batches[0])))
    if planned.engine == "alma":
        return ConvertedModel(build_with_alma(planned, model, inputs, log_level, skip_repairs), planned.traits)
    return ConvertedModel(_build_here(planned, model, inputs), planned.traits)


def _build_here(planned: PlannedConversion, model: torch.nn.Module, inputs: BuildInputs) -> BuiltModel:
    from almaflow.conversions import native

    run = None
    if planned.builder:
        module, _, function = planned.builder.partition(":")
        run = getattr(importlib.import_module(module), function)
    return native.build(planned.steps, model, inputs, run)
