"""Compose the lines of ``load.py`` by which the user's code builds a module, and that put the weights in."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from almaflow.conversions.exports.loader import settings_source
from almaflow.secrets import mask

if TYPE_CHECKING:
    import torch

    from almaflow.conversions.exports.loader import Work


def building(work: Work) -> tuple[tuple[str, ...], str, str]:
    """Return the imports and the expression that build the module, and the import path of what is called."""
    model = work.model
    if mask(model.kwargs) != model.kwargs:
        message = "the arguments that build its module hold a secret, which load.py would show"
        raise NotImplementedError(message)
    if model.target is None:
        if model.arch is None:
            message = "no import path builds the model"
            raise NotImplementedError(message)
        from almaflow.models.vision import arch_arguments

        kwargs = arch_arguments(model.arch, model.kwargs, default_size=model.inputs is None)
        arguments = settings_source(kwargs)
        name = f"torchvision.models.{model.arch}"
        return ("from torchvision.models import get_model",), f"get_model({model.arch!r}, {arguments})", name
    module, attribute = _split(model.target)
    top = module.partition(".")[0]
    if top in {"load", "check"}:
        message = f"its code is in a module named {top}, as a file of the folder is; give it another name"
        raise NotImplementedError(message)
    first = attribute.partition(".")[0]
    return (f"from {module} import {first}",), f"{attribute}({settings_source(model.kwargs)})", model.target


def _split(target: str) -> tuple[str, str]:
    """Split an import path into its module and what is in it."""
    parts = target.split(".")
    for depth in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:depth])
        if module in sys.modules:
            return module, ".".join(parts[depth:])
    importlib.import_module(parts[0])
    return parts[0], ".".join(parts[1:])


def loading(network: torch.nn.Module, work: Work) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the imports and lines that put the weights in, by the kind of their tensors."""
    read = 'torch.load(HERE / "weights.pt", map_location="cpu", weights_only=True)'
    if work.planned.family == "quanto":
        from optimum.quanto import quantization_map

        quantised, plain = quantization_map(network), _plain_outputs(network)
        lines: tuple[str, ...] = (f"quantised = {quantised!r}", f"requantize(network, {read}, quantised)")
        if plain:
            lines += (f"for name in {plain!r}:", "    network.get_submodule(name).disable_output_quantization()")
        return ("from optimum.quanto import requantize",), lines
    if work.planned.family == "torchao":
        return (
            ("import torchao  # knows the classes of the weights",),
            (f"network.load_state_dict({read}, assign=True)",),
        )
    return (), (f"network.load_state_dict({read})",)


def _plain_outputs(network: torch.nn.Module) -> list[str]:
    """Return the layers whose outputs quanto's calibration left in floating point, which it stores nowhere."""
    found = []
    for name, module in network.named_modules():
        hook = getattr(module, "_quantize_hooks", {}).get("output")
        if hook and hook.id not in module._forward_hooks:  # noqa: SLF001 - PyTorch tells it nowhere else
            found.append(name)
    return found
