"""Finds where a model's code takes decisions, or makes sizes, by values that come from its inputs.

A tracer keeps the decision that the example inputs led to, and an exporter needs the size to be said. Both are found
while the model runs eagerly: PyTorch marks the operators that hand values to Python (``data_dependent_output``) and
those whose result has a size by values (``dynamic_output_shape``).
"""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from almaflow.models.batches import Batch

PLACES = 5
"""Most places that are kept of either kind."""

HANDS_OUT = frozenset({"tolist", "numpy", "__array__"})
"""Methods of tensors that give values to Python without an operator."""


@dataclass
class ValueUse:
    """Places in code, as ``file.py:12 source line``, in the order in which they were met."""

    decisions: list[str] = field(default_factory=list)
    sizes: list[str] = field(default_factory=list)


@contextlib.contextmanager
def watching(batch: Batch) -> Iterator[ValueUse]:
    """Collect where the code inside uses values of these inputs, or what was computed from them."""
    use = ValueUse()
    watch = _Watch(batch, use)
    with watch, _HandsOut(watch):
        yield use


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows what is computed from the inputs through the operators."""

    def __init__(self, batch: Batch, use: ValueUse) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.use = use
        # Weak, so that activations are freed as always.
        self.derived = WeakIdKeyDictionary(dict.fromkeys(batch, True))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        derived = any(tensor in self.derived for tensor in inputs)
        if derived and torch.Tag.data_dependent_output in func.tags:
            add_place(self.use.decisions)
        elif derived and _sized_by_values(func, inputs):
            add_place(self.use.sizes)
        result = func(*args, **(kwargs or {}))
        if derived:
            result_tensors = _derived(func, inputs, tree_leaves(result), self.derived)
            written = inputs[:1] if func._schema.is_mutable else []  # noqa: SLF001 - PyTorch has no public place for it
            for tensor in (*result_tensors, *written):
                if isinstance(tensor, torch.Tensor):
                    self.derived[tensor] = True
        return result


UNTAGGED = frozenset({"torchvision::nms"})
"""Operators of other packages whose result has a size by values, without PyTorch's tag for it."""


def _derived(func: Any, inputs: list[torch.Tensor], results: list[Any], known: WeakIdKeyDictionary) -> list[Any]:
    """Return the results that are computed from the inputs; batch sizes of packed sequences are from lengths alone."""
    packs = func.name() == "aten::_pack_padded_sequence"
    return results[:1] if packs and inputs[-1] not in known else results


def _sized_by_values(func: Any, inputs: list[torch.Tensor]) -> bool:
    if torch.Tag.dynamic_output_shape not in func.tags:
        return func.name() in UNTAGGED
    # An index has a size by values only where it is a mask.
    return func.overloadpacket is not torch.ops.aten.index or any(
        tensor.dtype in {torch.bool, torch.uint8} for tensor in inputs[1:]
    )


class _HandsOut(TorchFunctionMode):
    """Sees the methods that give values to Python without an operator."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in HANDS_OUT and args and args[0] in self._watch.derived:
            add_place(self._watch.use.decisions)
        return func(*args, **(kwargs or {}))


def add_place(places: list[str]) -> None:
    """Add the line of code that is running: the first that belongs neither to PyTorch nor to this watch."""
    place = _place(sys._getframe(1))  # noqa: SLF001 - what traceback uses, without reading every source file
    if place not in places and len(places) < PLACES:
        places.append(place)


OWN = (
    f"{Path(torch.__file__).parent}{os.sep}",  # not torchvision beside it
    __file__,
    str(Path(__file__).with_name("examine.py")),
)

WORKER = f"{Path(__file__).parents[1] / 'worker'}{os.sep}"


def _place(frame: FrameType | None) -> str:
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    innermost = frame
    while frame is not None and frame.f_code.co_filename.startswith(OWN):
        frame = frame.f_back
    if frame is None or frame.f_code.co_filename.startswith(WORKER):  # the decision is in PyTorch's own code
        frame = innermost
    if frame is None:
        return "unknown"
    source = " ".join(linecache.getline(frame.f_code.co_filename, frame.f_lineno).split())
    place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
    return f"{place} `{source}`" if source else place
