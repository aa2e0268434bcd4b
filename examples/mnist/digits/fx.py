"""Quantise by PyTorch's older FX graph mode, which traces the module and puts quantised layers in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.ao.quantization import (
    FakeQuantize,
    MovingAveragePerChannelMinMaxObserver,
    QConfig,
    QConfigMapping,
    disable_observer,
)
from torch.ao.quantization.qconfig_mapping import get_default_qat_qconfig_mapping, get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx, prepare_qat_fx

from digits.train import fit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from digits.data import Split

SUFFIX = ".torchscript"


def _mapping(weight_bits: int, *, qat: bool) -> QConfigMapping:
    """Return PyTorch's choices for x86, with so many bits for weights."""
    mapping = (get_default_qat_qconfig_mapping if qat else get_default_qconfig_mapping)("x86")
    largest = 2 ** (weight_bits - 1) - 1
    default: Any = mapping.global_qconfig
    weight = default.weight.with_args(quant_min=-largest, quant_max=largest)
    if qat:
        # The default's fused kernel trains with other scales than those that the model is converted with.
        weight = FakeQuantize.with_args(
            observer=MovingAveragePerChannelMinMaxObserver,
            averaging_constant=1.0,
            quant_min=-largest,
            quant_max=largest,
            dtype=torch.qint8,
            qscheme=torch.per_channel_symmetric,
            ch_axis=0,
        )
    return mapping.set_global(QConfig(default.activation, weight))


def post_training(
    model: torch.nn.Module, batches: Iterable[torch.Tensor], weight_bits: int = 8
) -> torch.fx.GraphModule:
    """Quantise a model in evaluation mode by the ranges that it shows on these batches of images."""
    images = list(batches)
    prepared = prepare_fx(model.eval(), _mapping(weight_bits, qat=False), (images[0],))
    with torch.no_grad():
        for batch in images:
            prepared(batch)
    return convert_fx(prepared)


def aware_training(
    model: torch.nn.Module, split: Split, weight_bits: int = 8, *, epochs: int, seed: int
) -> tuple[torch.fx.GraphModule, dict[str, torch.Tensor]]:
    """Go on training a model with rounded weights and activations.

    Returns:
        The int8 graph, and the float weights behind it, which fit the model.
    """
    names = list(model.state_dict())
    prepared = prepare_qat_fx(model.train(), _mapping(weight_bits, qat=True), (split[0][:2],))
    fit(prepared, split, epochs, rate=2e-3, seed=seed)
    prepared.apply(disable_observer).eval()
    state = prepared.state_dict()
    weights = {name: state[name].detach().clone() for name in names}
    return convert_fx(prepared), weights


def save(graph: torch.fx.GraphModule, images: torch.Tensor, file: Path) -> None:
    """Write a quantised graph, which ``torch.jit.load`` reads."""
    torch.jit.save(torch.jit.trace(graph, images), str(file))
