"""Counts the FLOPs of one call by the weights that they read, and of those that ran outside of compiled graphs.

``counting`` counts a whole model's operations for predictors; this says which share of them something concerns. Imports
torch: for workers only.
"""

from __future__ import annotations

import copy
import sys
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from almaflow.models.dispatched import DispatchWatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

    from almaflow.models.dispatched import Dispatched

HALVES = (torch.float16, torch.bfloat16)
COMPILED = "do not trace Dynamo-compiled graph"
"""Reason that dynamo gives where it calls a graph that a backend compiled."""


class WorkCounter(DispatchWatch):
    """Adds up the FLOPs of the operators that are dispatched while it is active."""

    def __init__(self, weights: Mapping[str, torch.Tensor] | None = None, *, outside: bool = False) -> None:
        """Make a counter.

        Args:
            weights: Parameters to attribute FLOPs to.
            outside: Whether to leave out what compiled graphs dispatch.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0.0
        self.product_flops = 0.0
        self.products = 0
        """Number of matrix products, convolutions and the like."""
        self._half_flops = self._half_product_flops = 0.0
        self.by_weight: dict[str, float] = {}
        self._names: dict[int, str] = {id(tensor): name for name, tensor in (weights or {}).items()}
        self._alive: list[torch.Tensor] = []
        """Views of weights, kept so that no other tensor gets their ids."""
        self._outside = outside

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Let compiled graphs run as they do without a mode (PyTorch 2.12 and later ask this)."""
        return True

    @property
    def half_share(self) -> float | None:
        """Share of the work, that of products if any, whose operators read float16 or bfloat16 and nothing wider."""
        if self.product_flops:
            return self._half_product_flops / self.product_flops
        return self._half_flops / self.flops if self.flops else None

    def share_of(self, weights: set[str]) -> float | None:
        """Share of the products' FLOPs that read these weights; None where the model has no products."""
        if not self.product_flops:
            return None
        return sum(flops for name, flops in self.by_weight.items() if name in weights) / self.product_flops

    def see_view(self, inputs: list[torch.Tensor], outputs: list[torch.Tensor]) -> None:
        """Take a view for the weight that it looks at."""
        if inputs and id(inputs[0]) in self._names:
            for tensor in outputs:
                self._names[id(tensor)] = self._names[id(inputs[0])]
                self._alive.append(tensor)

    def see(self, call: Dispatched) -> None:
        """Add the FLOPs of an operator."""
        if self._outside and in_compiled_graph():
            return
        products = call.product_flops
        self.products += products is not None
        floating = {tensor.dtype for tensor in call.inputs if tensor.is_floating_point()}
        half = bool(floating) and floating <= set(HALVES)
        if products is not None:
            self.product_flops += products
            self._half_product_flops += products * half
        matrices = [tensor for tensor in call.inputs if id(tensor) in self._names and tensor.dim() > 1]
        elements = sum(tensor.numel() for tensor in matrices)
        for tensor in matrices if products else ():
            weight = self._names[id(tensor)]
            self.by_weight[weight] = self.by_weight.get(weight, 0.0) + (products or 0.0) * tensor.numel() / elements
        flops = call.flops
        self.flops += flops
        self._half_flops += flops * half


def in_compiled_graph() -> bool:
    """Whether the caller runs inside of a graph that a backend of ``torch.compile`` made."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the only way to the stack that costs little
    while frame is not None:
        code = frame.f_code
        if code.co_name == "_fn" and code.co_filename.endswith("eval_frame.py"):
            context = frame.f_locals.get("self")
            if getattr(context, "msg", None) == COMPILED:
                return True
        frame = frame.f_back
    return False


class FloatModel:
    """The structure of a model before a conversion changes it: names and sizes of its weights, and its work."""

    def __init__(self, model: torch.nn.Module, batch: Sequence[torch.Tensor]) -> None:
        self.elements = {name: weight.numel() for name, weight in model.named_parameters()}
        first: dict[int, str] = {}
        self.owner = {
            name: first.setdefault(id(weight), name) for name, weight in model.named_parameters(remove_duplicate=False)
        }
        """The name under which ``elements`` has a weight that several layers share, by each of its names."""
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        self._batch = [self._mode.from_tensor(tensor) for tensor in batch]
        self._model: torch.nn.Module | None = None
        try:
            # Of fake weights, so that it holds no memory while the conversion is timed.
            fakes = {id(each): self._mode.from_tensor(each) for each in (*model.parameters(), *model.buffers())}
            self._model = copy.deepcopy(model, fakes)
        except Exception:  # noqa: BLE001 - an attribute that has no copy: then its work is not known
            self._model = None

    def count(self) -> WorkCounter | None:
        """Count one call; None where the code needs values, or the model could not be copied."""
        if self._model is None:
            return None
        counter = WorkCounter(dict(self._model.named_parameters()))
        try:
            with torch.no_grad(), self._mode, counter:
                self._model(*self._batch)
        except Exception:  # noqa: BLE001 - code that depends on values
            return None
        return counter


def count_call(call: Any, batch: Sequence[torch.Tensor], *, outside: bool = False) -> WorkCounter:
    """Count one real call on copies of the inputs; ``outside`` leaves out what runs in compiled graphs.

    Raises:
        Exception: whatever the call raises.
    """
    counter = WorkCounter(outside=outside)
    inputs = [tensor.clone() for tensor in batch]
    with torch.no_grad(), counter:
        call(*inputs)
    return counter
