"""Example inputs: seeded random data, a data loader's batches, or batches from a file."""

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


def build_batches(spec: ModelSpec, count: int) -> list[Batch]:
    """Distinct input batches on the CPU, the batch dimension first; the same for the same spec.

    From ``batches_path`` where it is given, else from ``data_loader``, else random: floating inputs from the normal
    distribution (0, 1), integer ones uniform from ``low`` up to and without ``high``.

    Batches of another size than ``batch_size`` are left out. A data loader's batch may be a tensor, a tuple or list
    (inputs, then labels) or a mapping: of it come as many tensors as the spec has inputs, a mapping's by their names
    where all inputs have one, and the first tensor alone where the spec lists none. So labels are left out.

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
    return [tuple(_random(given, spec.batch_size, generator) for given in inputs) for _ in range(count)]


def take_batches(loader: Iterable[object], spec: ModelSpec, count: int, origin: str) -> list[Batch]:
    """The first batches of a data loader that have the spec's ``batch_size``, as ``build_batches`` describes them.

    Args:
        loader: Iterated once, no further than needed.
        spec: Says how many inputs the model has, and the batch size.
        count: How many batches are wanted.
        origin: What the loader is, for the messages.

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


def _random(given: InputSpec, batch_size: int, generator: torch.Generator) -> torch.Tensor:
    dtype = getattr(torch, given.dtype, None)
    shape = (batch_size, *given.shape)
    if not isinstance(dtype, torch.dtype) or dtype.is_complex:
        message = f"model.inputs: {given.dtype} is not an element type that almaflow can draw"
        raise UsageError(message)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    if dtype is torch.bool:
        return torch.randint(0, 2, shape, generator=generator).to(dtype)
    limits = torch.iinfo(dtype)
    if given.high is None or not limits.min <= given.low < given.high <= limits.max + 1:
        message = (
            f"model.inputs: an input of {given.dtype} needs low < high within the type's range; "
            f"it has low={given.low} high={given.high}"
        )
        raise UsageError(message)
    return torch.randint(given.low, given.high, shape, generator=generator, dtype=dtype)


def _inputs_of(item: object, spec: ModelSpec, origin: str) -> Batch:
    """The model's inputs out of one item of a data loader."""
    names = [given.name for given in spec.inputs or ()]
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
