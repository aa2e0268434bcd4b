"""Counts the operations of one forward call without computing it. Imports torch: for workers only.

The model runs on fake tensors, which have shapes and types but no values.
"""

from __future__ import annotations

import copy
import math
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map_only

from almaflow.models.dispatched import DispatchWatch
from almaflow.models.operator_kinds import JOINABLE, kind_of, product_sizes
from almaflow.records import Operation, Workload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from almaflow.models.dispatched import Dispatched

MEGA = 1e6


def count(model: torch.nn.Module, batch: Sequence[torch.Tensor], batch_size: int | None = None) -> Workload:
    """Count the operations of one forward call.

    Args:
        model: A model in eval mode, real or built on fake tensors; it is not changed.
        batch: Inputs, real or fake; only their shapes and types matter.
        batch_size: Samples in the batch; by default the first dimension of the first input.

    Raises:
        Exception: the model's code depends on values, which fake tensors do not have.
    """
    mode = _mode_of([*model.parameters(), *model.buffers(), *batch]) or FakeTensorMode(allow_non_fake_inputs=True)
    weights = [*model.parameters(), *model.buffers()]
    counter = _Counter(weights)
    with torch.no_grad(), _attention_in_parts(), _untouched(model) as model_or_copy, mode:
        inputs = [tensor if _is_fake(tensor) else mode.from_tensor(tensor) for tensor in batch]
        with counter:
            model_or_copy(*inputs)
    size = sum(_bytes(parameter) for parameter in model.parameters())
    return Workload(counter.finished(), size / MEGA, int(batch[0].shape[0]) if batch_size is None else batch_size)


@contextmanager
def _untouched(model: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Yield a copy that shares the weights: a model may keep tensors of its calls, and these would be fake ones.

    Of a model that cannot be copied the attributes are put back, and what their lists and dictionaries held.
    """
    try:
        shadow = copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})
    except Exception:  # noqa: BLE001 - an attribute that has no copy: a lock, a tensor with a history
        before = [
            (
                module,
                {
                    name: copy.copy(value) if isinstance(value, dict | list | set) else value
                    for name, value in vars(module).items()
                },
            )
            for module in model.modules()
        ]
        try:
            yield model
        finally:
            for module, attributes in before:
                vars(module).clear()
                vars(module).update(attributes)
        return
    yield shadow


@contextmanager
def _attention_in_parts() -> Iterator[None]:
    """Switch off the single kernel for all of ``nn.MultiheadAttention``, which only eager PyTorch has."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _is_fake(tensor: torch.Tensor) -> bool:
    return isinstance(tensor, torch._subclasses.FakeTensor)  # noqa: SLF001 - PyTorch has no public place for it


def _mode_of(tensors: Iterable[torch.Tensor]) -> FakeTensorMode | None:
    """Return the mode in which a model on fake tensors was built, since two modes do not mix."""
    modes = (getattr(tensor, "fake_mode", None) for tensor in tensors)
    return next((mode for mode in modes if mode is not None), None)


def _bytes(tensor: torch.Tensor) -> float:
    """Count the bytes of a tensor's elements, each once: an expanded tensor holds fewer than its shape says."""
    elements = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        elements *= size if stride else 1
    return float(elements * tensor.element_size())


class _Counter(DispatchWatch):
    """Records every operator on its way to the fake kernels."""

    def __init__(self, weights: Iterable[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []
        self._sources: list[set[int]] = []
        """For each operation, the indices of the operations whose output it reads."""
        self._weights = {id(tensor) for tensor in weights}
        self._producers: dict[int, int] = {}
        """Index of the operation that wrote a tensor, by the tensor's id."""
        self._alive: list[torch.Tensor] = []
        """Every tensor seen so far, kept so that no two have the same id."""

    def see_view(self, inputs: list[torch.Tensor], outputs: list[torch.Tensor]) -> None:
        """Take a view for the tensor that it looks at."""
        self._alive += [*inputs, *outputs]
        for tensor in outputs if inputs else ():
            if id(inputs[0]) in self._weights:
                self._weights.add(id(tensor))
            if id(inputs[0]) in self._producers:
                self._producers[id(tensor)] = self._producers[id(inputs[0])]

    def see(self, call: Dispatched) -> None:
        """Record an operator, unless it computes weights from weights."""
        self._alive += [*call.inputs, *call.outputs]
        weights = [tensor for tensor in call.inputs if id(tensor) in self._weights]
        activations = [tensor for tensor in call.inputs if id(tensor) not in self._weights]
        if not activations and all(id(tensor) in self._weights for tensor in call.outputs):
            return
        shapes = tree_map_only(torch.Tensor, lambda tensor: tuple(tensor.shape), (call.args, call.kwargs, call.result))
        kind = kind_of(call.name, shapes[0])
        read_bytes = sum(map(_bytes, activations))
        if kind == "gather" and weights:  # a table is not read as a whole, only the elements that are looked up
            read_bytes, weights = read_bytes + sum(map(_bytes, call.outputs)), []
        self._sources.append({self._producers[id(each)] for each in activations if id(each) in self._producers})
        for tensor in call.outputs:
            self._producers[id(tensor)] = len(self.operations)
        self.operations.append(
            Operation(
                name=call.name,
                kind=kind,
                flops=call.flops,
                read_bytes=read_bytes,
                weight_bytes=sum(map(_bytes, weights)),
                written_bytes=sum(map(_bytes, call.outputs)),
                shape=tuple(call.outputs[0].shape),
                dtype=str(call.outputs[0].dtype).removeprefix("torch."),
                sizes=product_sizes(call.name, *shapes),
            )
        )

    def finished(self) -> tuple[Operation, ...]:
        """Return the operations, marked where they can be fused into the one before them.

        They can if no other operation reads the output of that one, and it has as many elements as their own.
        """
        uses: dict[int, int] = {}
        for sources in self._sources:
            for index in sources:
                uses[index] = uses.get(index, 0) + 1
        size = [math.prod(each.shape) for each in self.operations]
        return tuple(
            replace(
                each,
                fusible=each.kind in JOINABLE and any(uses[at] == 1 and size[at] == size[here] for at in sources),
            )
            for here, (each, sources) in enumerate(zip(self.operations, self._sources, strict=True))
        )
