"""Makes example inputs: seeded random data, a data loader's batches, or batches from a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from almaflow.errors import UsageError
from almaflow.models.targets import call_target

if TYPE_CHECKING:
    from almaflow.records import InputSpec, ModelSpec

Batch = tuple[torch.Tensor, ...]

_SEED_OFFSET = 0x1A7C
"""Keeps the inputs' random numbers apart from the weights', which are drawn with the seed itself."""


def copied(batch: Batch) -> Batch:
    """Return copies of the inputs, each in memory of its own, with their strides where these leave no gaps."""
    return tuple(tensor.clone() for tensor in batch)


def build_batches(spec: ModelSpec, count: int) -> list[Batch]:
    """Make distinct input batches on the CPU, the batch dimension first; the same for the same spec.

    The spec's ``batches_path`` is used first, then its ``data_loader``. Without both the inputs are random: floating
    ones from the normal distribution (0, 1), integer ones uniform from ``low`` up to and without ``high``.

    Batches of another size than ``batch_size`` are left out. A data loader's batch may be a tensor, a tuple or list
    (inputs, then labels) or a mapping. As many of its tensors are taken as the spec has inputs, or one where the spec
    lists none: those of a mapping by name where all inputs have one, else the first. So labels are left out.

    Returns:
        ``count`` batches; fewer, but at least one, where the loader or the file has no more.

    Raises:
        UsageError: there is no batch of that size, or the spec does not say what the inputs are.
    """
    if spec.batches_path is not None:
        stored = torch.load(spec.batches_path, map_location="cpu", weights_only=True)
        return _of_size((tuple(batch) for batch in stored), spec, count, "the given inputs")
    if spec.data_loader is not None:
        origin = f"model.data_loader._target_={spec.data_loader.target}"
        loader = call_target(spec.data_loader, "model.data_loader")
        if not isinstance(loader, Iterable):
            message = f"{origin}: returned a {type(loader).__name__}, and must return an iterable of batches"
            raise UsageError(message)
        return take_batches(loader, spec, count, origin)
    generator = torch.Generator().manual_seed(spec.seed + _SEED_OFFSET)
    inputs = _input_specs(spec)
    return [tuple(_random(each, spec.batch_size, generator) for each in inputs) for _ in range(count)]


def take_batches(loader: Iterable[object], spec: ModelSpec, count: int, origin: str) -> list[Batch]:
    """Take the first batches of a data loader that have the spec's ``batch_size``, as ``build_batches`` describes.

    Args:
        loader: Batches, iterated once and no further than needed.
        spec: The model's inputs and batch size.
        count: How many batches to take.
        origin: The loader's name in messages.

    Raises:
        UsageError: there is no batch of that size, or its batches do not hold the inputs.
    """
    return _of_size((_inputs_of(item, spec, origin) for item in loader), spec, count, origin)


def _input_specs(spec: ModelSpec) -> tuple[InputSpec, ...]:
    if spec.inputs:
        return spec.inputs
    if spec.arch is None or spec.target or spec.pickle_path:
        message = f"{spec.name}: its inputs are not known; give model.inputs=[{{shape: [...]}}] or a model.data_loader"
        raise UsageError(message)
    from almaflow.models.vision import default_input

    return (default_input(spec.arch, spec.kwargs),)


def _random(spec: InputSpec, batch_size: int, generator: torch.Generator) -> torch.Tensor:
    dtype = getattr(torch, spec.dtype, None)
    shape = (batch_size, *spec.shape)
    if not isinstance(dtype, torch.dtype) or dtype.is_complex:
        message = f"model.inputs: {spec.dtype} is not an element type that almaflow can draw"
        raise UsageError(message)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    if dtype is torch.bool:
        return torch.randint(0, 2, shape, generator=generator).to(dtype)
    limits = torch.iinfo(dtype)
    if spec.high is None or not limits.min <= spec.low < spec.high <= limits.max + 1:
        message = (
            f"model.inputs: an input of {spec.dtype} needs low < high within the type's range; "
            f"it has low={spec.low} high={spec.high}"
        )
        raise UsageError(message)
    return torch.randint(spec.low, spec.high, shape, generator=generator, dtype=dtype)


def _inputs_of(item: object, spec: ModelSpec, origin: str) -> Batch:
    """Pick the model's inputs out of one item of a data loader."""
    names = [each.name for each in spec.inputs or ()]
    if isinstance(item, Mapping):
        if missing := [name for name in names if name and name not in item]:
            message = f"{origin}: its batches have {', '.join(map(str, item))}, but no {missing[0]!r}"
            raise UsageError(message)
        item = [item[name] for name in names] if names and all(names) else list(item.values())
    parts: list[Any] = list(item) if isinstance(item, (tuple, list)) else [item]
    tensors = [torch.from_numpy(part) if isinstance(part, np.ndarray) else part for part in parts]
    wanted = tensors[: len(names) or 1]
    if len(wanted) < (len(names) or 1) or not all(isinstance(part, torch.Tensor) for part in wanted):
        kinds = ", ".join(type(part).__name__ for part in parts) or "nothing"
        message = (
            f"{origin}: its batches hold ({kinds}), but the model takes {len(names) or 1} tensors, which come first"
        )
        raise UsageError(message)
    return tuple(wanted)


def _of_size(batches: Iterable[Batch], spec: ModelSpec, count: int, origin: str) -> list[Batch]:
    kept: list[Batch] = []
    other: set[int] = set()
    for batch in batches:
        size = batch[0].shape[0] if batch and batch[0].dim() else 0
        if size != spec.batch_size:
            other.add(size)
            continue
        kept.append(batch)
        if len(kept) == count:
            break
    if not kept:
        has = f"only batches of {', '.join(map(str, sorted(other)))}" if other else "no batch"
        message = f"batch_size={spec.batch_size}: {origin} has {has}; let both agree"
        raise UsageError(message)
    return kept
