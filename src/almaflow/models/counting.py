"""Counting what one forward call comes to, without computing it. Imports torch: for workers only.

The model runs on fake tensors, which have shapes and types but no values, below PyTorch's dispatcher: what is counted
are the ``aten`` operators that eager PyTorch calls on a CPU or GPU, after composite ones such as ``linear`` were taken
apart. FLOPs come from PyTorch's own formulas (``torch.utils.flop_counter``) where it has one.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

from almaflow.models.operator_kinds import FREE, JOINABLE, attention_flops, kind_of, product_sizes
from almaflow.records import Operation, Workload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MEGA = 1e6


def count(model: torch.nn.Module, batch: Sequence[torch.Tensor]) -> Workload:
    """The operations of one forward call.

    Args:
        model: In eval mode, real or built on fake tensors; it is not changed.
        batch: Inputs, real or fake; only their shapes and types matter.

    Raises:
        Exception: the model's code depends on values, which fake tensors do not have.
    """
    mode = _mode_of([*model.parameters(), *model.buffers(), *batch]) or FakeTensorMode(allow_non_fake_inputs=True)
    weights = [*model.parameters(), *model.buffers()]
    counter = _Counter(weights)
    with torch.no_grad(), _attention_in_parts(), mode:
        inputs = [tensor if _is_fake(tensor) else mode.from_tensor(tensor) for tensor in batch]
        with counter:
            model(*inputs)
    size = sum(_bytes(parameter) for parameter in model.parameters())
    return Workload(counter.finished(), size / MEGA, int(batch[0].shape[0]))


@contextmanager
def _attention_in_parts() -> Iterator[None]:
    """Without the one kernel that stands for all of ``nn.MultiheadAttention`` in eager PyTorch, and only there."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _is_fake(tensor: torch.Tensor) -> bool:
    return isinstance(tensor, torch._subclasses.FakeTensor)  # noqa: SLF001 - PyTorch has no public place for it


def _mode_of(tensors: Iterable[torch.Tensor]) -> FakeTensorMode | None:
    """The mode in which a model on fake tensors was built: two modes do not mix."""
    modes = (getattr(tensor, "fake_mode", None) for tensor in tensors)
    return next((mode for mode in modes if mode is not None), None)


def _bytes(tensor: torch.Tensor) -> float:
    """Of its elements, each once, however it is strided: an expanded tensor holds fewer than its shape says."""
    elements = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        elements *= size if stride else 1
    return float(elements * tensor.element_size())


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator on its way to the fake kernels."""

    def __init__(self, weights: Iterable[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []
        self._inputs: list[set[int]] = []
        """Of each operation: those that gave what it reads."""
        self._weights = {id(tensor) for tensor in weights}
        self._made_by: dict[int, int] = {}
        self._alive: list[torch.Tensor] = []
        """Keeps every tensor, so that no two have the same id."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = func(*args, **(kwargs or {}))
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        made = [leaf for leaf in tree_leaves(given) if isinstance(leaf, torch.Tensor)]
        self._alive += [*read, *made]
        name = func.overloadpacket.__name__
        if name in FREE:
            self._pass_on(read, made)
        elif made:
            self._add(func, name, args, kwargs or {}, given, read, made)
        return given

    def _pass_on(self, read: list[torch.Tensor], made: list[torch.Tensor]) -> None:
        """A view is what it looks at."""
        for tensor in made if read else ():
            if id(read[0]) in self._weights:
                self._weights.add(id(tensor))
            if id(read[0]) in self._made_by:
                self._made_by[id(tensor)] = self._made_by[id(read[0])]

    def _add(  # noqa: PLR0913, PLR0917 - what the dispatcher knows of one call
        self,
        func: Any,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        given: Any,
        read: list[torch.Tensor],
        made: list[torch.Tensor],
    ) -> None:
        fixed = [tensor for tensor in read if id(tensor) in self._weights]
        moving = [tensor for tensor in read if id(tensor) not in self._weights]
        if not moving and all(id(tensor) in self._weights for tensor in made):
            return
        shapes = tree_map_only(torch.Tensor, lambda tensor: tuple(tensor.shape), (args, kwargs, given))
        kind = kind_of(name, shapes[0])
        read_bytes = sum(map(_bytes, moving))
        if kind == "gather" and fixed:  # a table is looked into, not read
            read_bytes, fixed = read_bytes + sum(map(_bytes, made)), []
        self._inputs.append({self._made_by[id(each)] for each in moving if id(each) in self._made_by})
        for tensor in made:
            self._made_by[id(tensor)] = len(self.operations)
        self.operations.append(
            Operation(
                name=name,
                kind=kind,
                flops=_flops(func, name, args, kwargs, given),
                read_bytes=read_bytes,
                weight_bytes=sum(map(_bytes, fixed)),
                written_bytes=sum(map(_bytes, made)),
                shape=tuple(made[0].shape),
                dtype=str(made[0].dtype).removeprefix("torch."),
                sizes=product_sizes(name, *shapes),
            )
        )

    def finished(self) -> tuple[Operation, ...]:
        """With what can be joined to the operation before it: no other reads what that one gave, as large as this."""
        uses: dict[int, int] = {}
        for inputs in self._inputs:
            for index in inputs:
                uses[index] = uses.get(index, 0) + 1
        size = [math.prod(each.shape) for each in self.operations]
        return tuple(
            replace(
                each,
                fusible=each.kind in JOINABLE and any(uses[at] == 1 and size[at] == size[here] for at in inputs),
            )
            for here, (each, inputs) in enumerate(zip(self.operations, self._inputs, strict=True))
        )


def _flops(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], given: Any) -> float:
    """By PyTorch's formula for products; one for each element that is written elsewhere."""
    if "attention" in name:
        return attention_flops(tuple(tuple(tensor.shape) for tensor in args[:3]))
    formula = flop_registry.get(func.overloadpacket)
    if formula is not None:
        return float(formula(*args, **kwargs, out_val=given))
    return float(next(leaf.numel() for leaf in tree_leaves(given) if isinstance(leaf, torch.Tensor)))
