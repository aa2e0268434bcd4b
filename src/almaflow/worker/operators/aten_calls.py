"""Describes calls of PyTorch's operators as plain data, and makes them again on tensors of the same kind.

An operator's time depends on the shapes, types and strides of its tensors and on its other arguments, and hardly on
the values. Imports torch: for workers only.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_leaves

from almaflow.models.operator_kinds import FREE
from almaflow.records.operators import LAYOUT_PLAIN, Operator, OperatorTensor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from almaflow.models.dispatched import Dispatched

GROUPS = 8
"""The position of the number of groups among a convolution's arguments."""
STRIDES = "strides "
"""The start of the layout of a tensor that is not contiguous; its strides follow."""
_NAMED = {"dtype": torch.dtype, "layout": torch.layout, "memory_format": torch.memory_format, "device": torch.device}
"""Kinds of arguments that are written as their name."""


LONG_BYTES = 2**14
"""Bytes of weights from which it matters whether they are in a cache."""
MOST_SETS = 500


def described(call: Dispatched, weights: Collection[int]) -> Operator:
    """Describe a call.

    Args:
        call: The call, on real or fake tensors.
        weights: The ids of the tensors that are weights, or views of them.
    """
    tensors: list[torch.Tensor] = []
    arguments = {"args": _plain(list(call.args), tensors), "kwargs": _plain(call.kwargs, tensors)}
    if call.name == "convolution":
        arguments["group"] = call.args[GROUPS]
    return Operator(
        name=call.name,
        kind=str(call.operator),
        attributes=arguments,
        inputs=tuple(_described(tensor, constant=id(tensor) in weights) for tensor in tensors),
        outputs=tuple(_described(tensor, constant=False) for tensor in call.outputs),
        flops=call.flops,
    )


def _plain(value: Any, tensors: list[torch.Tensor]) -> Any:
    """Return an argument as JSON can hold it; tensors are appended to ``tensors`` and named by their index."""
    if isinstance(value, torch.Tensor):
        tensors.append(value)
        return {"tensor": len(tensors) - 1}
    if isinstance(value, list | tuple):
        return [_plain(each, tensors) for each in value]
    if isinstance(value, dict):
        return {"dict": {key: _plain(each, tensors) for key, each in value.items()}}
    for name, kind in _NAMED.items():
        if isinstance(value, kind):
            return {name: str(value).removeprefix("torch.")}
    if isinstance(value, bool | int | float | str | None):
        return value
    return {"text": str(value)}


def _described(tensor: torch.Tensor, *, constant: bool) -> OperatorTensor:
    strides = tuple(tensor.stride())
    layout = LAYOUT_PLAIN if tensor.is_contiguous() else STRIDES + " ".join(map(str, strides))
    dtype = str(tensor.dtype).removeprefix("torch.")
    elements = math.prod(size for size, stride in zip(tensor.shape, strides, strict=True) if stride)
    return OperatorTensor(
        dtype, tuple(tensor.shape), layout, constant=constant, bytes=float(elements * tensor.element_size())
    )


class AtenCall:
    """A call that a description makes again, on several sets of weights in turn."""

    def __init__(self, operator: Operator, pool: torch.Tensor) -> None:
        """Make the tensors of a call.

        Args:
            operator: What ``described`` returned.
            pool: Random numbers. Weights are parts of it, of as many sets as it has room for.

        Raises:
            AttributeError: this PyTorch has no such operator.
        """
        namespace, name, overload = operator.kind.split(".")
        self.function: Callable[..., Any] = getattr(getattr(getattr(torch.ops, namespace), name), overload)
        highest = _highest_index(operator)
        tensors = [None if each is None else _made(each, highest) for each in operator.inputs]
        self.sets: list[tuple[list[Any], dict[str, Any]]] = []
        for first in _firsts(operator.weight_bytes, pool):
            of_set = _from_pool(operator, tensors, pool, first)
            args, kwargs = (_value(operator.attributes[part], of_set) for part in ("args", "kwargs"))
            self.sets.append((args, kwargs))
        self._written = [
            _whole(tensor)
            for tensor, each in zip(tensors, operator.inputs, strict=True)
            if each and not each.constant and tensor is not None and tensor.numel() and tensor.dtype != torch.bool
        ]

    def touch(self) -> None:
        """Write the activations again, as the operator before has just done."""
        for each in self._written:
            each.mul_(1)


def _firsts(weight_bytes: float, pool: torch.Tensor) -> list[int]:
    """Return the index in the pool where each set of weights begins."""
    if weight_bytes < LONG_BYTES:
        return [0]
    count = min(MOST_SETS, max(1, int(pool.nbytes / weight_bytes)))
    return [pool.numel() * number // count for number in range(count)]


def _from_pool(
    operator: Operator, tensors: list[torch.Tensor | None], pool: torch.Tensor, first: int
) -> list[torch.Tensor | None]:
    """Return the tensors with weights from the pool in place of those that fit there."""
    replaced = list(tensors)
    for index, (tensor, each) in enumerate(zip(tensors, operator.inputs, strict=True)):
        if tensor is None or each is None or not each.constant or tensor.dtype != pool.dtype:
            continue
        elements = _whole(tensor).numel()
        if first + elements <= pool.numel():
            replaced[index] = pool.as_strided(tensor.shape, tensor.stride(), first)
            first += elements
    return replaced


def _value(plain: Any, tensors: list[Any]) -> Any:
    """Return the argument that ``_plain`` described."""
    if isinstance(plain, list):
        return [_value(each, tensors) for each in plain]
    if not isinstance(plain, dict):
        return plain
    ((name, value),) = plain.items()
    if name == "tensor":
        return tensors[value]
    if name == "dict":
        return {key: _value(each, tensors) for key, each in value.items()}
    if name == "device":
        return torch.device(value)
    if name == "text":
        message = f"an argument that is no plain value ({value})"
        raise TypeError(message)
    return getattr(torch, value)


def _made(like: OperatorTensor, highest: int) -> torch.Tensor:
    """Make a tensor of this kind: positive numbers of about one, which every operator takes, or valid indices."""
    dtype = getattr(torch, like.dtype)
    if like.layout.startswith(STRIDES):
        strides = tuple(map(int, like.layout.removeprefix(STRIDES).split()))
        tensor = torch.empty_strided(like.shape, strides, dtype=dtype)
        # The elements between those that belong to the tensor stay as they are: no operator reads them.
    else:
        tensor = torch.empty(like.shape, dtype=dtype)
    if dtype.is_floating_point or dtype.is_complex:
        elements = torch.rand(like.shape).add_(0.1).to(dtype)
    elif dtype == torch.bool:
        elements = torch.ones(like.shape, dtype=dtype)
    else:
        elements = torch.randint(0, max(1, highest), like.shape).to(dtype)
    if all(stride or size == 1 for size, stride in zip(like.shape, tensor.stride(), strict=True)):
        return tensor.copy_(elements)
    if tensor.numel():  # an expanded tensor has fewer elements than its shape says
        whole = _whole(tensor)
        whole.copy_(elements.flatten()[: whole.numel()])
    return tensor


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return all elements of a tensor's memory, in its order."""
    return torch.as_strided(tensor, (tensor.untyped_storage().nbytes() // tensor.element_size(),), (1,))


def _highest_index(operator: Operator) -> int:
    """Return the number of rows that an operator which looks up rows may choose from; 1: only the first."""
    name = operator.kind.split(".")[1]
    first = next((each for each in operator.inputs if each), None)
    if first is None or not first.shape:
        return 1
    if name == "embedding":
        return first.shape[0]
    if name in {"index", "index_select", "gather"}:
        return min(first.shape)
    return 1


def is_view(name: str) -> bool:
    """Whether an operator only looks at its input in another way."""
    return name in FREE


def tensors_of(value: Any) -> list[torch.Tensor]:
    """Return the tensors among arguments or results."""
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]
