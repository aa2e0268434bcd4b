"""Builds torchvision's classification models by name, with random weights."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from torchvision import models

from almaflow.errors import UsageError
from almaflow.models.targets import call
from almaflow.records import InputSpec

if TYPE_CHECKING:
    from collections.abc import Callable


def build_arch(arch: str, kwargs: dict[str, Any], *, default_size: bool) -> object:
    """Build a model with random weights.

    Args:
        arch: its name in torchvision.
        kwargs: arguments of its builder.
        default_size: whether it will get the input of ``default_input``.

    Raises:
        UsageError: there is no such model, or it does not take these arguments.
    """
    builder = _builder(arch)
    return call(builder, arch_arguments(arch, kwargs, default_size=default_size), f"model.arch={arch}")


def arch_arguments(arch: str, kwargs: dict[str, Any], *, default_size: bool) -> dict[str, Any]:
    """Return the keyword arguments that ``build_arch`` gives to torchvision's builder."""
    arguments = {"weights": None, **kwargs}
    if default_size and arch.startswith("vit_"):  # the only ones whose layers depend on the size of the image
        arguments.setdefault("image_size", _crop_size(arch))
    return arguments


def default_input(arch: str, kwargs: dict[str, Any]) -> InputSpec:
    """Return one image of the size that the published weights expect, by their metadata: nothing is downloaded."""
    _builder(arch)
    size = int(kwargs.get("image_size", 0)) or _crop_size(arch)
    return InputSpec((3, size, size))


def _builder(arch: str) -> Callable[..., object]:
    names = models.list_models(module=models)
    if arch not in names:
        near = get_close_matches(arch, names, n=3, cutoff=0.5)
        nearest = f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(names)}"
        message = f"model.arch={arch}: torchvision has no such classification model; {nearest}"
        raise UsageError(message)
    builder: Callable[..., object] = models.get_model_builder(arch)
    return builder


def _crop_size(arch: str) -> int:
    weights = models.get_model_weights(arch).DEFAULT
    return int(weights.transforms().crop_size[0])
