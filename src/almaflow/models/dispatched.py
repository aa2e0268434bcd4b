"""Shows each operator that PyTorch dispatches during a call, with its FLOPs. Imports torch: for workers only.

The operators are those of ``aten`` that eager PyTorch calls, after composite ones such as ``linear`` were taken apart.
FLOPs come from PyTorch's own formulas (``torch.utils.flop_counter``) where it has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from almaflow.models.operator_kinds import FREE, attention_flops

LAYERS = ("_transformer_encoder_layer_fwd", "_native_multi_head_attention")
"""Kernels of eager PyTorch for a whole layer, without a formula of its own."""


@dataclass(frozen=True)
class Dispatched:
    """One operator that was dispatched."""

    operator: Any
    name: str
    """Its name in ``aten``."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any
    inputs: list[torch.Tensor]
    outputs: list[torch.Tensor]

    @property
    def product_flops(self) -> float | None:
        """FLOPs of an operator that multiplies matrices; None of any other."""
        return product_flops(self.operator, self.name, self.args, self.kwargs, self.result)

    @property
    def flops(self) -> float:
        """FLOPs of a product, else one for each element that is written."""
        products = self.product_flops
        return float(self.outputs[0].numel()) if products is None else products


class DispatchWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Shows the operators that are dispatched while it is active to ``see``, those without work to ``see_view``."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        name = func.overloadpacket.__name__
        if name in FREE:
            self.see_view(inputs, outputs)
        elif outputs:
            self.see(Dispatched(func, name, args, kwargs or {}, result, inputs, outputs))
        return result

    def see_view(self, inputs: list[torch.Tensor], outputs: list[torch.Tensor]) -> None:
        """Take note of an operator that neither reads nor writes elements, such as a view of its first input."""

    def see(self, call: Dispatched) -> None:
        """Take note of any other operator."""


class DispatchClock(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Takes the time of each operator with work that is dispatched while it is active, in the order of execution."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.times_ns: list[tuple[str, int]] = []
        """The operators' names in ``aten`` and their nanoseconds."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        started = perf_counter_ns()
        result = func(*args, **(kwargs or {}))
        taken = perf_counter_ns() - started
        name = func.overloadpacket.__name__
        if name not in FREE and any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves(result)):
            self.times_ns.append((name, taken))
        return result


def place_name(name: str, place: int) -> str:
    """Return the name of an operator in the graph of a call: that in ``aten``, and its place in the order."""
    return f"{name}#{place}"


def product_flops(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> float | None:
    """Return the FLOPs of an operator that multiplies matrices; None of any other."""
    if name == "mkldnn_rnn_layer":  # input, and the weights for it and for the state
        return float(2 * sum(weight.numel() for weight in args[1:3]) * args[0].numel() / args[0].shape[-1])
    if name in LAYERS:
        rows, width = args[0].numel() / args[0].shape[-1], args[0].shape[-1]
        weights = {id(leaf): leaf for leaf in tree_leaves(args[3:]) if isinstance(leaf, torch.Tensor)}.values()
        products = sum(weight.numel() for weight in weights if weight.dim() == 2 and weight.is_floating_point())  # noqa: PLR2004
        return float(2 * rows * products + 4 * rows * args[0].shape[-2] * width)
    if "attention" in name:
        return attention_flops(tuple(tuple(tensor.shape) for tensor in args[:3]))
    formula = flop_registry.get(func.overloadpacket)
    return None if formula is None else float(formula(*args, **kwargs, out_val=result))
