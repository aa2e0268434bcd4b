"""Build a conversion with Alma or from almaflow's own steps."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import torch

from almaflow.conversions.alma.build import build_with_alma
from almaflow.conversions.converted import ConvertedModel
from almaflow.models.work import FloatModel

if TYPE_CHECKING:
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
        model: In eval mode, on the planned device, with float32 weights. It may be changed.
        inputs: Example inputs, threads and streams.
        log_level: Level of the root logger, by which Alma decides whether to print graphs.
        skip_repairs: Names of repairs that are not applied, to show their effect.

    Raises:
        Exception: whatever the converter raises.
    """
    model = _by_its_call(model)
    # Quantisers change the model, so that its structure is taken before.
    quantises = planned.traits.replaces_weights or planned.traits.quantises_graph
    before = FloatModel(model, inputs.batches[0]) if quantises else None
    if planned.engine == "alma":
        built = build_with_alma(planned, model, inputs, log_level, skip_repairs)
    else:
        built = _build_here(planned, model, inputs)
    return ConvertedModel(built, planned.traits, planned, inputs.batches[0], before)


class Called(torch.nn.Module):
    """A model as its call gives it, for converters that take ``forward`` alone."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self.train(model.training)

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.model(*inputs)


def _by_its_call(model: torch.nn.Module) -> torch.nn.Module:
    """Wrap a model whose call does more than its forward: hooks on the model itself, or a ``__call__`` of its own."""
    hooks = model._forward_hooks or model._forward_pre_hooks  # noqa: SLF001 - PyTorch has no public place for them
    own_call = type(model).__call__ is not torch.nn.Module.__call__
    generated = isinstance(model, torch.fx.GraphModule | torch.jit.ScriptModule)  # their call is their forward
    return Called(model) if hooks or (own_call and not generated) else model


def _build_here(planned: PlannedConversion, model: torch.nn.Module, inputs: BuildInputs) -> BuiltModel:
    from almaflow.conversions import native

    run = None
    if planned.builder:
        module, _, function = planned.builder.partition(":")
        run = getattr(importlib.import_module(module), function)
    return native.build(planned.steps, model, inputs, run)
