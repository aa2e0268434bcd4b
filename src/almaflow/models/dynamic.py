"""Finds the dimensions of a model's inputs whose sizes may change, and makes batches of other sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from almaflow.errors import UsageError
from almaflow.models.batches import batch_dims_of
from almaflow.records import BATCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from almaflow.models.batches import Batch
    from almaflow.records import DynamicDim, ModelSpec

Axes = tuple[dict[int, str], ...]
"""Of each tensor of a batch, the names of its dynamic dimensions by their places."""

STEPS = (2, 1, -1)
"""How far from the example's a size may be at which outputs are compared where no sizes were given, in order."""


def axes_of(spec: ModelSpec, names: Sequence[str], batch: Batch) -> Axes:
    """Return where the dynamic dimensions of a model are.

    Args:
        spec: The model's dynamic dimensions.
        names: The inputs' names, one for each tensor.
        batch: An example batch.

    Raises:
        UsageError: an input is unknown, has no such dimension, or its size does not fit the name.
    """
    found: list[dict[int, str]] = [{} for _ in batch]
    for dim in spec.dynamic:
        for position, place in _places(dim, spec, names, batch):
            if place >= batch[position].dim():
                shape = tuple(batch[position].shape)
                message = f"model.dynamic_axes: {names[position]} of shape {shape} has no dimension {place}"
                raise UsageError(message)
            if found[position].setdefault(place, dim.name) != dim.name:
                both = f"{found[position][place]} and {dim.name}"
                message = f"model.dynamic: dimension {place} of {names[position]} has two names, {both}"
                raise UsageError(message)
    axes = tuple(found)
    _check_sizes(spec, axes, batch)
    return axes


def _places(dim: DynamicDim, spec: ModelSpec, names: Sequence[str], batch: Batch) -> list[tuple[int, int]]:
    """Return the position of the input and the place in it, of each dimension of that name."""
    if not dim.axes:
        dims = enumerate(batch_dims_of(batch, spec))
        if places := [(position, place) for position, place in dims if place is not None]:
            return places
        message = f"model.dynamic: no input has a batch dimension of {spec.batch_size}; set model.batch_dim"
        raise UsageError(message)
    positions = {str(position): position for position in range(len(batch))}
    positions |= {name: position for position, name in enumerate(names)}
    if unknown := [axis.input for axis in dim.axes if axis.input not in positions]:
        message = f"model.dynamic_axes: no input is called {unknown[0]}; they are: {', '.join(names)}"
        raise UsageError(message)
    return [(positions[axis.input], axis.dim) for axis in dim.axes]


def _check_sizes(spec: ModelSpec, axes: Axes, batch: Batch) -> None:
    for dim in spec.dynamic:
        places = zip(axes, batch, strict=True)
        sizes = {tensor.shape[place] for named, tensor in places for place, name in named.items() if name == dim.name}
        if len(sizes) > 1:
            several = " and ".join(map(str, sorted(sizes)))
            message = f"model.dynamic: {dim.name} is {several} in the example inputs, and must have one size"
            raise UsageError(message)
        if not all(map(dim.has, sizes)):
            message = f"model.dynamic: {dim.name} is {min(sizes)} in the example inputs, outside of {dim}"
            raise UsageError(message)


def present_sizes(axes: Axes, batch: Batch) -> dict[str, int]:
    """Return the size that each dynamic dimension has in a batch, by its name."""
    places = zip(axes, batch, strict=True)
    return {name: tensor.shape[place] for named, tensor in places for place, name in named.items()}


def sizes_to_check(spec: ModelSpec, present: Mapping[str, int]) -> list[dict[str, int]]:
    """Return the sizes at which outputs are compared with eager's: those that are timed, or one other."""
    if spec.sizes:
        return [{**present, **size} for size in spec.sizes]
    other = {
        dim.name: next(present[dim.name] + n for n in STEPS if dim.has(present[dim.name] + n)) for dim in spec.dynamic
    }
    return [other] if other else []


def resized(batches: Sequence[Batch], axes: Axes, size: Mapping[str, int]) -> Batch:
    """Return a batch of another size: rows of all batches in turn, and of other dimensions the elements over again."""
    made = []
    for position, named in enumerate(axes):
        tensor = batches[0][position]
        for place, name in named.items():
            if name == BATCH:
                tensor = torch.cat([batch[position] for batch in batches], place)
            index = torch.arange(size[name], device=tensor.device) % tensor.shape[place]
            tensor = tensor.index_select(place, index)
        made.append(tensor)
    return tuple(made)
