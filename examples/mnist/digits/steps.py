"""Build this package's conversions; almaflow imports it in the process that measures one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from almaflow.conversions import BuiltModel, ExecutionEvidence
from digits import pt2e

if TYPE_CHECKING:
    from almaflow.conversions import BuildInputs

PRODUCTS = ("qconv_weight_prepack_matcher_count", "qlinear_weight_prepack_matcher_count")
"""Inductor's counters of the products that it gave to int8 kernels."""


def ptq(model: torch.nn.Module, work: BuildInputs) -> BuiltModel:
    """Quantise on the calibration inputs, for any model that ``torch.export`` takes with one tensor as its input."""
    graph = pt2e.post_training(model, [images for (images,) in work.calibrated_on])
    return BuiltModel(graph, model=graph, executable=graph, calibration_batches=len(work.calibrated_on))


def qat(model: torch.nn.Module, _work: BuildInputs) -> BuiltModel:
    """Load the graph that quantisation-aware training left."""
    file = getattr(model, "trained_int8", None)
    if file is None:
        message = "this model has no graph from quantisation-aware training: give model.kwargs.trained_int8=FILE.pt2"
        raise NotImplementedError(message)
    graph = torch.export.load(file).module()
    return BuiltModel(graph, model=graph, executable=graph)


def compiled_ptq(model: torch.nn.Module, work: BuildInputs) -> BuiltModel:
    """Quantise on the calibration inputs, and compile."""
    return _compiled(ptq(model, work), work)


def compiled_qat(model: torch.nn.Module, work: BuildInputs) -> BuiltModel:
    """Load the graph of quantisation-aware training, and compile it."""
    return _compiled(qat(model, work), work)


def _compiled(built: BuiltModel, work: BuildInputs) -> BuiltModel:
    """Compile an int8 graph with its weights frozen, without which inductor does not look for int8 products."""
    with torch.no_grad(), torch._inductor.config.patch(freezing=True):  # noqa: SLF001 - PyTorch has no public place for it
        compiled = torch.compile(built.model)
        compiled(*work.batches[0])
    return replace(built, forward=compiled, evidence=_int8_products)


def _int8_products() -> ExecutionEvidence:
    """Return how many products run in int8 kernels; without one, inductor computes them in float32."""
    from torch._dynamo.utils import counters

    count = sum(counters["inductor"][name] for name in PRODUCTS)
    fell_back = None if count else "inductor computes all products in float32: it has no int8 kernel for them here"
    return ExecutionEvidence({"int8_products": str(count)}, fell_back)
