"""Writes the model and inputs of a caller to files for the workers."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import cloudpickle

from almaflow.errors import UsageError
from almaflow.records import InputSpec

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from almaflow.records import ModelSpec

    Batch = tuple[torch.Tensor, ...]


class Inputs:
    """Example inputs of a model: one batch, or the first ones of a loader.

    Args:
        example: A tensor or a sequence of tensors, the batch dimension first.
        loader: An iterable over batches, which are then used instead of the example.

    Raises:
        UsageError: there is neither, or they are not what they should be.
    """

    def __init__(self, example: object, loader: object) -> None:
        self._example = None if example is None else _tensors(example)
        self._items: Iterator[object] | None = None
        if loader is not None:
            if not isinstance(loader, Iterable):
                message = f"data_loader: is a {type(loader).__name__}, and must be an iterable over batches"
                raise UsageError(message)
            self._items = iter(loader)
            first = next(self._items, None)
            self._items = chain([first], self._items)
            self.batch_size = _first_size(first, "data_loader")
        elif self._example is not None:
            self.batch_size = _first_size(self._example, "example_input")
        else:
            message = "give an example_input (a tensor with the batch dimension first) or a data_loader"
            raise UsageError(message)

    @property
    def specs(self) -> tuple[InputSpec, ...] | None:
        """The model's inputs without the batch dimension; None without an example."""
        if self._example is None:
            return None
        return tuple(InputSpec(tuple(t.shape[1:]), str(t.dtype).removeprefix("torch.")) for t in self._example)

    def write(self, path: Path, spec: ModelSpec, count: int) -> None:
        """Save ``count`` batches on the CPU, or as many as the loader has.

        Raises:
            UsageError: there is no batch of the spec's ``batch_size``.
        """
        import torch

        from almaflow.models.batches import take_batches

        if self._items is not None:
            batches = take_batches(self._items, spec, count, "data_loader")
        else:
            example = self._example or ()
            if spec.batch_size != self.batch_size:
                message = f"batch_size={spec.batch_size}: example_input is a batch of {self.batch_size}; let both agree"
                raise UsageError(message)
            generator = torch.Generator().manual_seed(spec.seed)
            batches = [example, *(tuple(_permuted(t, generator) for t in example) for _ in range(count - 1))]
        # Cloned, since a view would be saved with all the memory that it looks into.
        torch.save([tuple(t.detach().cpu().clone() for t in batch) for batch in batches], path)


def _tensors(example: object) -> Batch:
    import torch

    parts = (example,) if isinstance(example, torch.Tensor) else example
    if not isinstance(parts, Sequence) or not parts or not all(isinstance(part, torch.Tensor) for part in parts):
        message = f"example_input: is a {type(example).__name__}, and must be a tensor or a tuple or list of tensors"
        raise UsageError(message)
    return tuple(part.detach().cpu() for part in parts)


def _first_size(item: Any, origin: str) -> int:
    """Return the first dimension of the first tensor in a batch."""
    while isinstance(item, (Mapping, tuple, list)):
        item = next(iter(item.values() if isinstance(item, Mapping) else item), None)
    shape = getattr(item, "shape", ())
    if not shape:
        message = (
            f"{origin}: begins with a {type(item).__name__}, and must begin with a tensor of at least one dimension"
        )
        raise UsageError(message)
    return int(shape[0])


def _permuted(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shuffle the elements of a tensor, keeping its memory format."""
    import torch

    order = torch.randperm(tensor.numel(), generator=generator)
    return torch.empty_like(tensor).copy_(tensor.reshape(-1)[order].reshape(tensor.shape))


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
