"""Define the steps that change the model, whatever runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from almaflow.conversions.built.weights import IMAGES, channels_last_weights

if TYPE_CHECKING:
    from almaflow.conversions.built.model import BuildInputs, ModelChange, Witness


def _cast(dtype: torch.dtype) -> ModelChange:
    return lambda model, _work: model.to(dtype)


class ChannelsLast(torch.nn.Module):
    """A model with weights in channels-last order that reorders the images it gets."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)

    def forward(self, *inputs: torch.Tensor) -> object:
        return self.model(
            *[t.contiguous(memory_format=torch.channels_last) if t.dim() == IMAGES else t for t in inputs]
        )


def _torchao(config: str) -> ModelChange:
    """Return a step that quantises linear layers by one of torchao's configs with its defaults."""

    def change(model: torch.nn.Module, _work: BuildInputs) -> torch.nn.Module:
        from torchao import quantization

        if not any(isinstance(module, torch.nn.Linear) for module in model.modules()):
            message = "nothing to quantise: torchao quantises linear layers, and the model has none"
            raise NotImplementedError(message)
        quantization.quantize_(model, getattr(quantization, config)())
        return model

    return change


def torchao_autoquant(model: torch.nn.Module, work: BuildInputs) -> torch.nn.Module:
    """Let torchao choose the quickest type of each linear layer on the first example batch."""
    import torchao

    chosen: torch.nn.Module = torchao.autoquant(model)
    chosen(*work.batches[0])
    return chosen


CHANGES: dict[str, ModelChange] = {
    "FP16": _cast(torch.float16),
    "BF16": _cast(torch.bfloat16),
    "CHANNELS_LAST": lambda model, _work: ChannelsLast(model),
    # Weights by channel, activations by token, scaled anew in each call.
    "TORCHAO_QUANT_INT8": _torchao("Int8DynamicActivationInt8WeightConfig"),
    # Weights by channel in e4m3fn; arithmetic in the model's own type.
    "TORCHAO_QUANT_FP8": _torchao("Float8WeightOnlyConfig"),
    "TORCHAO_AUTOQUANT": torchao_autoquant,
}

WITNESSES: dict[str, Witness] = {
    "CHANNELS_LAST": lambda model, work: channels_last_weights(model, work.batches[0]),
}
"""What tells after the calls whether a step's change is still in the model; ``built.narrow`` tells of its types."""
