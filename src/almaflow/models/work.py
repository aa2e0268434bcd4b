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
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from almaflow.models.operator_kinds import FREE, attention_flops

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

HALVES = (torch.float16, torch.bfloat16)
LAYERS = ("_transformer_encoder_layer_fwd", "_native_multi_head_attention")
"""Kernels of eager PyTorch for a whole layer, without a formula of its own."""
COMPILED = "do not trace Dynamo-compiled graph"
"""Reason that dynamo gives where it calls a graph that a backend compiled."""


class WorkCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
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

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        if name in FREE:
            self._pass_on(inputs, outputs)
        elif outputs and not (self._outside and in_compiled_graph()):
            self._add(func, name, args, kwargs or {}, result, inputs)
        return result

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

    def _pass_on(self, inputs: list[torch.Tensor], outputs: list[torch.Tensor]) -> None:
        """Take a view for the weight that it looks at."""
        if inputs and id(inputs[0]) in self._names:
            for tensor in outputs:
                self._names[id(tensor)] = self._names[id(inputs[0])]
                self._alive.append(tensor)

    def _add(  # noqa: PLR0913, PLR0917 - what the dispatcher knows of one call
        self,
        func: Any,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        inputs: list[torch.Tensor],
    ) -> None:
        flops = product_flops(func, name, args, kwargs, result)
        self.products += flops is not None
        floating = {tensor.dtype for tensor in inputs if tensor.is_floating_point()}
        half = bool(floating) and floating <= set(HALVES)
        if flops is not None:
            self.product_flops += flops
            self._half_product_flops += flops * half
        matrices = [tensor for tensor in inputs if id(tensor) in self._names and tensor.dim() > 1]
        elements = sum(tensor.numel() for tensor in matrices)
        for tensor in matrices if flops else ():
            weight = self._names[id(tensor)]
            self.by_weight[weight] = self.by_weight.get(weight, 0.0) + (flops or 0.0) * tensor.numel() / elements
        if flops is None:  # one for each element that is written
            flops = float(next(leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)))
        self.flops += flops
        self._half_flops += flops * half


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
