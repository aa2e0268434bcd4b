"""Makes example inputs: seeded random data, a data loader's batches, or batches from a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from almaflow.errors import UsageError
from almaflow.models.call_form import taken_apart
from almaflow.models.items import call_of, inputs_of, nested, restored
from almaflow.models.random_inputs import draw
from almaflow.models.targets import call_target, started_in

if TYPE_CHECKING:
    from almaflow.models.binding import Parameters
    from almaflow.models.call_form import CallForm
    from almaflow.models.items import Pairs
    from almaflow.records import InputSpec, ModelSpec, TargetSpec

Batch = tuple[torch.Tensor, ...]
"""The tensors of one call, flat; a ``CallForm`` says how they become its arguments."""

T = TypeVar("T")

_SEED_OFFSET = 0x1A7C
"""Keeps the inputs' random numbers apart from the weights', which are drawn with the seed itself."""

_ALIGNED = 16
"""Bytes of the largest element."""


def copied(batch: Batch, device: str | None = None) -> Batch:
    """Return copies of the inputs with their strides; what shares memory in the batch shares it in the copies.

    Args:
        batch: The inputs.
        device: Where the copies are; None: where the inputs are.
    """
    spans: dict[int, tuple[int, int]] = {}
    for tensor in filter(_has_memory, batch):
        place, (first, last) = tensor.untyped_storage().data_ptr(), _span(tensor)
        known = spans.get(place, (first, last))
        spans[place] = min(first, known[0]), max(last, known[1])
    memory: dict[int, torch.Tensor] = {}
    return tuple(
        _copied(each, spans, memory, device or each.device)
        if _has_memory(each)
        else each.clone().to(device or each.device)
        for each in batch
    )


def _has_memory(tensor: torch.Tensor) -> bool:
    """Whether it is a plain tensor, which its memory, offset and strides describe."""
    plain = type(tensor) is torch.Tensor and tensor.layout is torch.strided and tensor.numel() > 0
    return plain and not (tensor.is_quantized or tensor.is_conj() or tensor.is_neg())


def _span(tensor: torch.Tensor) -> tuple[int, int]:
    """Return the first byte of the memory that a tensor reads, and the one behind the last."""
    last = tensor.storage_offset() + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
    first = tensor.storage_offset() * tensor.itemsize // _ALIGNED * _ALIGNED
    return int(first), int(last + 1) * tensor.itemsize


def _copied(
    tensor: torch.Tensor,
    spans: dict[int, tuple[int, int]],
    memory: dict[int, torch.Tensor],
    device: str | torch.device,
) -> torch.Tensor:
    storage = tensor.untyped_storage()
    place = storage.data_ptr()
    first, last = spans[place]
    if place not in memory:  # of a part of a large tensor, that part
        whole = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage)
        memory[place] = torch.empty(last - first, dtype=torch.uint8, device=device).copy_(whole[first:last])
    offset = tensor.storage_offset() - first // tensor.itemsize
    empty = torch.empty(0, dtype=tensor.dtype, device=device)
    return empty.set_(memory[place].untyped_storage(), offset, tensor.size(), tensor.stride())


@dataclass(frozen=True)
class ExampleInputs:
    """Example inputs of a model, all of the same sizes."""

    batches: list[Batch]
    form: CallForm
    batch_dims: tuple[int | None, ...]
    """The batch dimension of each tensor of a batch; None where it has none."""
    parameters: Parameters
    """The parameters of the model's call, to which they are bound."""


def build_inputs(spec: ModelSpec, count: int, parameters: Parameters) -> ExampleInputs:
    """Make distinct input batches on the CPU, the same for the same spec, and bind them to the model's parameters.

    The spec's ``batches_path`` is used first, then its ``data_loader``. Without both the inputs are random.

    Batches of another size than ``batch_size`` are left out. A data loader's batch may be a tensor, a tuple or list
    (inputs, then labels), or a mapping, a named tuple or a dataclass. Of a tuple as many parts are taken as the spec
    lists inputs, or as the model requires where the spec lists none. Of a mapping those of the inputs' names; without
    names those whose keys are parameters of the model, but for optional labels. Parts may be nested.

    Args:
        spec: The model's inputs and batch size.
        count: How many batches to make.
        parameters: Those of the model's call.

    Returns:
        ``count`` batches; fewer, but at least one, where the loader or the file has no more.

    Raises:
        UsageError: there is no batch of that size, the batches do not fit the model or differ in size, or the spec
            does not say what the inputs are.
    """
    origin, given = _given(spec, count, parameters)
    with started_in(spec.directory):
        is_segment = spec.segment is not None
        calls = (call_of(pairs, parameters, origin, as_they_are=is_segment) for pairs in given)
        kept = of_size(((rows_of(call[0], spec), call) for call in calls), spec, count, origin)
    batches, form = [batch for batch, _ in kept], kept[0][1]
    check_alike(batches, [form for _, form in kept], origin)
    return ExampleInputs(batches, form, batch_dims_of(batches[0], spec), parameters)


def take_items(loader: Iterable[object], spec: ModelSpec, count: int, origin: str) -> list[object]:
    """Take the first items of a data loader whose first tensor has the spec's ``batch_size``.

    Args:
        loader: Batches, iterated once and no further than needed.
        spec: The model's batch size and batch dimension.
        count: How many items to take.
        origin: The loader's name in messages.

    Raises:
        UsageError: there is no batch of that size.
    """
    return of_size(((first_size(item, spec.batch_dim, origin), item) for item in loader), spec, count, origin)


def first_size(item: object, batch_dim: int | None, origin: str) -> int:
    """Return the size of the first tensor in a batch along the batch dimension; 1 where there is no such dimension.

    Raises:
        UsageError: it begins with something else, or with a tensor that has no such dimension.
    """
    tensors: list[torch.Tensor] = []
    taken_apart(item, tensors)
    if not tensors or (batch_dim is not None and tensors[0].dim() <= batch_dim):
        least = "one dimension" if not batch_dim else f"{batch_dim + 1} dimensions"
        held = f"begins with a tensor of shape {tuple(tensors[0].shape)}" if tensors else f"holds {_kinds(item)}"
        message = f"{origin}: {held}, and must begin with a tensor of at least {least}"
        raise UsageError(message)
    return 1 if batch_dim is None else tensors[0].shape[batch_dim]


def _kinds(item: object) -> str:
    parts = item.values() if isinstance(item, Mapping) else item if isinstance(item, (tuple, list)) else [item]
    return f"no tensor ({', '.join(type(part).__name__ for part in parts)})"


def _given(spec: ModelSpec, count: int, parameters: Parameters) -> tuple[str, Iterator[Pairs]]:
    """Return where the inputs come from, and those of each call."""
    if spec.batches_path is not None:
        plain = torch.load(spec.batches_path, map_location="cpu", weights_only=True)
        items = restored(plain)
        if plain["exact"]:
            calls = ([*((None, value) for value in args), *kwargs.items()] for args, kwargs in items)
            return "example_input", iter(calls)
        return "data_loader", (inputs_of(item, spec, parameters, "data_loader") for item in items)
    if spec.data_loader is not None:
        origin, loader = opened(spec.data_loader, "model.data_loader", spec)
        return origin, (inputs_of(item, spec, parameters, origin) for item in loader)
    generator = torch.Generator().manual_seed(spec.seed + _SEED_OFFSET)
    inputs = _input_specs(spec)
    drawn = (nested([(each.name, draw(each, spec.batch_size, generator)) for each in inputs]) for _ in range(count))
    return "model.inputs", drawn


def opened(target: TargetSpec, key: str, spec: ModelSpec) -> tuple[str, Iterable[Any]]:
    """Make a data loader of the user's; return the name by which messages know it, and the loader.

    Raises:
        UsageError: it cannot be made, or is no iterable.
    """
    origin = f"{key}._target_={target.target}"
    with started_in(spec.directory):
        loader = call_target(target, key)
    if not isinstance(loader, Iterable):
        message = f"{origin}: returned a {type(loader).__name__}, and must return an iterable of batches"
        raise UsageError(message)
    return origin, loader


def _input_specs(spec: ModelSpec) -> tuple[InputSpec, ...]:
    if spec.inputs:
        return spec.inputs
    if spec.arch is None or spec.target or spec.pickle_path:
        message = f"{spec.name}: its inputs are not known; give model.inputs=[{{shape: [...]}}] or a model.data_loader"
        raise UsageError(message)
    from almaflow.models.vision import default_input

    return (default_input(spec.arch, spec.kwargs),)


def of_size(sized: Iterable[tuple[int, T]], spec: ModelSpec, count: int, origin: str) -> list[T]:
    """Return the first ``count`` of those that have the spec's ``batch_size``.

    Raises:
        UsageError: there is none.
    """
    kept: list[T] = []
    other: set[int] = set()
    for size, value in sized:
        if size != spec.batch_size:
            other.add(size)
            continue
        kept.append(value)
        if len(kept) == count:
            break
    if not kept:
        has = f"only batches of {', '.join(map(str, sorted(other)))}" if other else "no batch"
        message = f"batch_size={spec.batch_size}: {origin} has {has}; let both agree"
        raise UsageError(message)
    return kept


def declared_dims(batch: Batch, spec: ModelSpec) -> list[int | None]:
    """Return the batch dimension of each tensor as the spec has it; None where it has none."""
    if spec.inputs and len(spec.inputs) == len(batch):
        return [each.batch_dim for each in spec.inputs]
    return [spec.batch_dim] * len(batch)


def rows_of(batch: Batch, spec: ModelSpec) -> int:
    """Return the size of a batch: of the first tensor that has the batch dimension."""
    declared = declared_dims(batch, spec)
    if all(dim is None for dim in declared):
        return spec.batch_size
    sizes = (t.shape[dim] for t, dim in zip(batch, declared, strict=True) if dim is not None and t.dim() > dim)
    return next(sizes, 0)


def batch_dims_of(batch: Batch, spec: ModelSpec) -> tuple[int | None, ...]:
    """Return the batch dimension of each tensor; None where it has none, or another size there."""
    return tuple(
        dim if dim is not None and tensor.dim() > dim and tensor.shape[dim] == spec.batch_size else None
        for tensor, dim in zip(batch, declared_dims(batch, spec), strict=True)
    )


def check_alike(batches: list[Batch], forms: list[CallForm], origin: str) -> None:
    """Refuse batches that would make one latency of several, or that no converted model could take alike."""
    if any(form != forms[0] for form in forms):
        message = (
            f"{origin}: its batches do not all hold the same kinds of parts, numbers and keys; "
            "let each give the model the same, with tensors for what changes"
        )
        raise UsageError(message)
    for index, name in enumerate(forms[0].names):
        kinds = list(dict.fromkeys((tuple(batch[index].shape), batch[index].dtype) for batch in batches))
        if len(kinds) > 1:
            shapes = " and ".join(f"{shape} {str(dtype).removeprefix('torch.')}" for shape, dtype in kinds[:2])
            message = (
                f"{origin}: its batches differ in size: {name} is {shapes}, and one latency cannot stand for both; "
                "pad or bucket them, or measure one size at a time, by a loader that gives batches of that size only"
            )
            raise UsageError(message)
