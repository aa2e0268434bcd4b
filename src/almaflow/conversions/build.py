"""Build a conversion with Alma or from almaflow's own steps."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from almaflow.conversions.alma.build import build_with_alma
from almaflow.conversions.converted import ConvertedModel
from almaflow.models.binding import bind
from almaflow.models.call_form import CallForm
from almaflow.models.work import FloatModel

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
        log_level: Level of the root logger, by which Alma decides whether to print graphs. With DEBUG the graphs that
            torch.compile captures, its graph breaks and recompilations are logged too.
        skip_repairs: Names of repairs that are not applied, to show their effect.

    Raises:
        Exception: whatever the converter raises.
    """
    if log_level == "DEBUG":
        _log_compiling()
    model = bind(model, CallForm.flat(len(inputs.batches[0])))
    # Quantisers change the model, so that its structure is taken before.
    quantises = planned.traits.replaces_weights or planned.traits.quantises_graph
    before = FloatModel(model, inputs.batches[0]) if quantises else None
    if planned.engine == "alma":
        built = build_with_alma(planned, model, inputs, log_level, skip_repairs)
    else:
        built = _build_here(planned, model, inputs)
    return ConvertedModel(built, planned.traits, planned, inputs.batches[0], before)


def _log_compiling() -> None:
    """Let PyTorch log what it compiles, as ``TORCH_LOGS`` would from its start on, and quieten a lock's every step."""
    logs: Any = importlib.import_module("torch._logging")  # PyTorch's page on logging names it by this path
    logs.set_logs(graph_code=True, graph_breaks=True, recompiles=True)
    logging.getLogger("filelock").setLevel(logging.INFO)


def _build_here(planned: PlannedConversion, model: torch.nn.Module, inputs: BuildInputs) -> BuiltModel:
    from almaflow.conversions import native

    run = None
    if planned.builder:
        module, _, function = planned.builder.partition(":")
        run = getattr(importlib.import_module(module), function)
    return native.build(planned.steps, model, inputs, run)
