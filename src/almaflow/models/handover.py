"""Writes the model and inputs of a caller to files for the workers."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import cloudpickle

from almaflow.errors import UsageError
from almaflow.records import InputSpec

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from almaflow.records import EvaluateSpec, ModelSpec


NOTHING = object()
"""What an empty loader gives first."""


class Inputs:
    """Example inputs of a model: one call's, or the first ones of a loader.

    Args:
        example: A tensor, a tuple or list of the arguments by position, or a mapping of those by name; they may be
            nested.
        kwargs: Further arguments by name.
        loader: An iterable over batches, which are then used instead of the example.
        batch_dim: The place of the batch dimension; None where there is none.

    Raises:
        UsageError: there is neither, or they are not what they should be.
    """

    def __init__(
        self,
        example: object,
        loader: object,
        kwargs: Mapping[str, object] | None = None,
        batch_dim: int | None = 0,
    ) -> None:
        from almaflow.models.batches import first_size

        has_example = example is not None or kwargs is not None
        self._call = _arguments(example, kwargs) if has_example else None
        self._batch_dim = batch_dim
        self._items: Iterator[object] | None = None
        if loader is not None:
            if not isinstance(loader, Iterable):
                message = f"data_loader: is a {type(loader).__name__}, and must be an iterable over batches"
                raise UsageError(message)
            self._items = iter(loader)
            first = next(self._items, NOTHING)
            if first is NOTHING:
                message = "data_loader: gives no batch"
                raise UsageError(message)
            self._items = chain([first], self._items)
            self.batch_size = first_size(first, batch_dim, "data_loader")
        elif self._call is not None:
            self.batch_size = first_size(self._call, batch_dim, "example_input")
        else:
            message = "give an example_input (a tensor with the batch dimension first) or a data_loader"
            raise UsageError(message)

    @property
    def specs(self) -> tuple[InputSpec, ...] | None:
        """The model's inputs without the batch dimension; None without an example."""
        if self._call is None:
            return None
        from almaflow.models.batches import first_size
        from almaflow.models.call_form import places, taken_apart

        tensors: list[torch.Tensor] = []
        args, kwargs = self._call
        names: dict[int, str] = {}
        for value in args:
            taken_apart(value, tensors)
        for name, value in kwargs.items():
            names.update(places(taken_apart(value, tensors), name))
        size = first_size(self._call, self._batch_dim, "example_input")
        return tuple(_spec(each, names.get(index), self._batch_dim, size) for index, each in enumerate(tensors))

    def write(self, path: Path, spec: ModelSpec, count: int, evaluate: EvaluateSpec | None = None) -> None:
        """Save ``count`` batches on the CPU, or as many as the loader has; to evaluate, all that holds the samples.

        Raises:
            UsageError: there is no batch of the spec's ``batch_size``, or there are no labels to evaluate on.
        """
        import torch

        from almaflow.models.batches import take_items
        from almaflow.models.call_form import filled, taken_apart
        from almaflow.models.items import stored

        if self._items is not None and evaluate:
            items = list(_holding(self._items, spec, count, evaluate.samples))
        elif self._items is not None:
            items = take_items(self._items, spec, count, "data_loader")
        else:
            if evaluate:
                message = "evaluate: needs a data_loader whose batches hold the inputs, then the labels"
                raise UsageError(message)
            if spec.batch_size != self.batch_size:
                message = f"batch_size={spec.batch_size}: example_input is a batch of {self.batch_size}; let both agree"
                raise UsageError(message)
            tensors: list[torch.Tensor] = []
            tree = taken_apart(self._call, tensors)
            generator = torch.Generator().manual_seed(spec.seed)
            items = [self._call]
            items += [filled(tree, [permuted(t.detach().cpu(), generator) for t in tensors]) for _ in range(count - 1)]
        torch.save({"exact": self._items is None, **stored(items)}, path)


def _holding(items: Iterable[object], spec: ModelSpec, count: int, samples: float | None) -> Iterator[object]:
    """Yield items until they hold so many samples, and ``count`` batches of the spec's size; all for a share."""
    from almaflow.models.batches import first_size

    left = samples if samples is not None and samples >= 1 else float("inf")
    for item in items:
        size = first_size(item, spec.batch_dim, "data_loader")
        left, count = left - size, count - (size == spec.batch_size)
        yield item
        if left <= 0 and count <= 0:
            return


def _arguments(example: object, kwargs: Mapping[str, object] | None) -> tuple[tuple[object, ...], dict[str, object]]:
    """Return the arguments of a call by position and by name."""
    from almaflow.models.call_form import others, taken_apart

    args: tuple[object, ...] = ()
    named: dict[str, object] = {}
    if isinstance(example, Mapping):
        named.update(example)
    elif isinstance(example, (tuple, list)) and not hasattr(example, "_fields"):
        args = tuple(example)
    elif example is not None:
        args = (example,)
    if twice := {*named} & {*(kwargs or {})}:
        message = f"example_kwargs: {min(twice)!r} is in example_input too"
        raise UsageError(message)
    named.update(kwargs or {})
    tensors: list[torch.Tensor] = []
    tree = taken_apart((args, named), tensors)
    strange = next(others(tree), None)
    if strange or not tensors or not all(isinstance(name, str) for name in named):
        what = f"holds a {strange}" if strange else f"is a {type(example).__name__} without a tensor"
        must_be = "a tensor, a tuple or list of the arguments, or a mapping of them by name"
        message = f"example_input: {what}, and must be {must_be}"
        raise UsageError(message)
    return args, named


def _spec(tensor: torch.Tensor, name: str | None, batch_dim: int | None, size: int) -> InputSpec:
    shape = tuple(tensor.shape)
    if batch_dim is None or tensor.dim() <= batch_dim or shape[batch_dim] != size:
        batch_dim = None
    else:
        shape = (*shape[:batch_dim], *shape[batch_dim + 1 :])
    return InputSpec(shape, str(tensor.dtype).removeprefix("torch."), name=name, batch_dim=batch_dim)


def permuted(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shuffle the elements of a tensor, keeping its memory format; those of a mask within each of its rows.

    A mask is a bool tensor, or an integer one of zeros and ones. Among all elements, a row might lose every place that
    it shows.
    """
    import torch

    if tensor.layout is not torch.strided:
        return tensor
    if tensor.dim() > 1 and _is_mask(tensor):
        order = torch.rand(tensor.shape, generator=generator).argsort(-1)
        shuffled = tensor.gather(-1, order)
    else:
        order = torch.randperm(tensor.numel(), generator=generator)
        shuffled = tensor.reshape(-1)[order].reshape(tensor.shape)
    return torch.empty_like(tensor).copy_(shuffled)


def _is_mask(tensor: torch.Tensor) -> bool:
    import torch

    whole = not (tensor.is_floating_point() or tensor.is_complex())
    return tensor.dtype is torch.bool or (whole and bool(((tensor == 0) | (tensor == 1)).all()))


def name_of(model: object) -> str:
    """Return the default name of a model: that of its class, or of the function that builds it.

    Raises:
        UsageError: that is no proper name, as for a lambda.
    """
    model = _original(model)
    while isinstance(model, functools.partial):
        model = model.func
    name = str(getattr(model, "__name__", type(model).__name__))
    if not name.isidentifier():
        message = f"model_name is required for a {name.strip('<>')}: what the figures are filed under"
        raise UsageError(message)
    return name


def write_model(path: Path, model: object) -> None:
    """Pickle a module, or a callable that builds one, so that a process without the caller's script can load it.

    Raises:
        UsageError: it is neither, or cannot be pickled.
    """
    model = _original(model)
    if not callable(model):
        message = f"model: is a {type(model).__name__}, and must be a torch.nn.Module or a callable that builds one"
        raise UsageError(message)
    try:
        with path.open("wb") as stream:
            cloudpickle.dump(_on_cpu(model), stream)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        message = f"model: cannot be pickled for the worker processes ({reason}); give a callable that builds it"
        raise UsageError(message) from error


def _original(model: object) -> object:
    """Unwrap a model from ``torch.compile``: whether and how to compile is what conversions are measured for."""
    return getattr(model, "_orig_mod", model)


def _on_cpu(model: object) -> object:
    """Copy a model to the CPU; return the model itself where all its parameters and buffers are there already."""
    import torch

    if not isinstance(model, torch.nn.Module):
        return model
    elsewhere = [t for t in chain(model.parameters(), model.buffers()) if t.device.type != "cpu"]
    if not elsewhere:
        return model
    # deepcopy takes these tensors for copied already, so that the copy takes no memory on the device.
    memo: dict[int, Any] = {}
    for tensor in elsewhere:
        copied = tensor.detach().cpu()
        is_parameter = isinstance(tensor, torch.nn.Parameter)
        memo[id(tensor)] = torch.nn.Parameter(copied, tensor.requires_grad) if is_parameter else copied
    return copy.deepcopy(model, memo)
