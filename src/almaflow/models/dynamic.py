"""Finds the dimensions of a model's inputs whose sizes may change, and makes batches of other sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from almaflow.errors import UsageError
from almaflow.models.batches import batch_dims_of
from almaflow.models.memory_order import MemoryOrder
from almaflow.records import BATCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from almaflow.models.batches import Batch
    from almaflow.records import DynamicDim, ModelSpec

Axes = tuple[dict[int, str], ...]
"""Of each tensor of a batch, the names of its dynamic dimensions by their places."""

STEPS = (2, 1, -1)
"""How far from the example's a size may be at which outputs are compared where no size was given, in order."""
MASK_VALUES = 2
"""A tensor with no more different values is taken for a mask."""


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


def timed_sizes(spec: ModelSpec, present: Mapping[str, int]) -> list[dict[str, int]]:
    """Return the given sizes, each once and with all names; the example's own is left out, which is timed anyway."""
    found: list[dict[str, int]] = [{**present}]
    for size in spec.sizes:
        if (whole := {**present, **size}) not in found:
            found.append(whole)
    return found[1:]


def sizes_to_check(spec: ModelSpec, present: Mapping[str, int]) -> list[dict[str, int]]:
    """Return the sizes at which outputs are compared with eager's.

    These are the sizes that are timed, and one at which all dimensions differ that are the example's in each of those.
    """
    timed = timed_sizes(spec, present)
    other = {
        dim.name: next(present[dim.name] + n for n in STEPS if dim.has(present[dim.name] + n))
        for dim in spec.dynamic
        if all(size[dim.name] == present[dim.name] for size in timed)
    }
    return [*timed, {**present, **other}] if other else timed


def resized(batches: Sequence[Batch], axes: Axes, size: Mapping[str, int]) -> Batch:
    """Return a batch of another size, in the example's order of memory.

    A larger batch has the rows of all batches before it has any twice. Other dimensions have the elements of all
    batches in turn. Where these are too few, they are shuffled within each sample: a mean or a maximum over the
    repetition of a sample would be that of the sample, and a size that a trace has frozen would not be found.
    """
    made = []
    for position, named in enumerate(axes):
        example = batches[0][position]
        tensors = [batch[position] for batch in batches] if named else [example]
        rows = [place for place, name in named.items() if name == BATCH]
        for place, name in named.items():
            turns = [tensors[n:] + tensors[:n] for n in range(len(tensors))]
            tensors = [_filled(each, place, size[name], rows) for each in turns]
        made.append(MemoryOrder(example).of(tensors[0]) if named else example)
    return tuple(made)


def _filled(tensors: list[torch.Tensor], place: int, size: int, rows: list[int]) -> torch.Tensor:
    """Return the tensors one after another along a dimension, up to a size; ``rows`` are the places of the batch."""
    whole = torch.cat(tensors, place)
    index = torch.arange(size, device=whole.device) % whole.shape[place]
    filled = whole.index_select(place, index)
    if size <= whole.shape[place] or place in rows or _is_mask(whole):
        return filled
    generator = torch.Generator().manual_seed(size)
    order = torch.rand(filled.shape, generator=generator).to(filled.device)
    order, by_row = (each.movedim(rows, [*range(len(rows))]) for each in (order, filled))
    flat = by_row.flatten(len(rows)).gather(-1, order.flatten(len(rows)).argsort(-1))
    return flat.reshape(by_row.shape).movedim([*range(len(rows))], rows)


def _is_mask(tensor: torch.Tensor) -> bool:
    """Whether a tensor looks like a mask, which is not shuffled: if it hid all from one position, that would be NaN."""
    parts = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return torch.unique(parts).numel() <= MASK_VALUES or not bool(parts.isfinite().all())
