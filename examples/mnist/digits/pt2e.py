"""Quantise exported graphs by torchao (PT2E), for the int8 kernels that inductor has for x86 processors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torchao.quantization.pt2e.fake_quantize import FakeQuantize, disable_observer
from torchao.quantization.pt2e.observer import MovingAveragePerChannelMinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e, prepare_qat_pt2e
from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)

from digits.train import fit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from digits.data import Split

SUFFIX = ".pt2"


def quantiser(weight_bits: int, *, qat: bool) -> X86InductorQuantizer:
    """Return torchao's quantiser for x86: weights by channel, activations by tensor with a fixed scale."""
    config = get_default_x86_inductor_quantization_config(is_qat=qat)
    largest = 2 ** (weight_bits - 1) - 1
    weight = replace(config.weight, quant_min=-largest, quant_max=largest)
    if qat:
        # The default's fused kernel trains with other scales than those that the graph is converted with.
        observer = FakeQuantize.with_args(observer=MovingAveragePerChannelMinMaxObserver, averaging_constant=1.0)
        weight = replace(weight, observer_or_fake_quant_ctr=observer)
    return X86InductorQuantizer().set_global(replace(config, weight=weight))


def exported(model: torch.nn.Module, images: torch.Tensor) -> torch.export.ExportedProgram:
    """Export a model for batches of any size."""
    return torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))


def post_training(
    model: torch.nn.Module, batches: Iterable[torch.Tensor], weight_bits: int = 8
) -> torch.fx.GraphModule:
    """Quantise a model in evaluation mode by the ranges that it shows on these batches of images."""
    images = list(batches)
    prepared = prepare_pt2e(exported(model, images[0]).module(), quantiser(weight_bits, qat=False))
    with torch.no_grad():
        for batch in images:
            prepared(batch)
    return convert_pt2e(prepared)


def aware_training(
    model: torch.nn.Module, split: Split, weight_bits: int = 8, *, epochs: int, seed: int
) -> tuple[torch.fx.GraphModule, dict[str, torch.Tensor]]:
    """Go on training a model with rounded weights and activations.

    An exported graph does not know modes. A model with dropout or batch normalisation needs torchao's
    ``move_exported_model_to_train`` before training and ``move_exported_model_to_eval`` after it; this one has neither.

    Returns:
        The int8 graph, and the float weights behind it, which fit the model.
    """
    names = list(model.state_dict())
    prepared = prepare_qat_pt2e(exported(model.train(), split[0][:2]).module(), quantiser(weight_bits, qat=True))
    fit(prepared, split, epochs, rate=2e-3, seed=seed)
    prepared.apply(disable_observer)
    state = prepared.state_dict()
    weights = {name: state[name].detach().clone() for name in names}
    return convert_pt2e(prepared), weights


def save(graph: torch.fx.GraphModule, images: torch.Tensor, file: Path) -> None:
    """Write a quantised graph, which ``torch.export.load`` reads."""
    torch.export.save(exported(graph, images), file)
