"""Find which weights and which work of a quantised FX graph are int8: graphs of PT2E and of FX graph mode."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import flop_registry

from almaflow.conversions.built.evidence import ExecutionEvidence
from almaflow.conversions.built.narrow import NOTHING
from almaflow.models.dispatched import product_flops
from almaflow.models.work import FloatModel, WorkCounter

if TYPE_CHECKING:
    from almaflow.models.batches import Batch

BYTES = (torch.int8, torch.uint8, torch.qint8, torch.quint8)
FLOAT_KERNELS = "torch.ao.nn.quantizable"


def graph_evidence(graph: torch.fx.GraphModule, inputs: Batch, before: FloatModel | None) -> ExecutionEvidence:
    """Run the graph once, node by node, and add up the weights and the FLOPs of products that are int8."""
    counted = _Counted(graph)
    try:
        with torch.no_grad():
            counted.run(*tree_map_only(torch.Tensor, torch.clone, tuple(inputs)))
    except Exception:  # noqa: BLE001 - a graph that no interpreter runs: what it holds is counted, not what it does
        counted.flops = counted.int8_flops = 0.0
    weights = counted.int8_weights
    runtime = {"quantised_weights": str(len(weights)), "quantised_types": "int8" if weights else ""}
    if not weights:
        return ExecutionEvidence({"quantised_weights": "0"}, NOTHING, narrow_weights_share=0.0, narrow_work_share=0.0)
    total = sum(before.elements.values()) if before else 0
    return ExecutionEvidence(
        runtime,
        narrow_weights_share=min(sum(weights.values()) / total, 1.0) if total else None,
        narrow_work_share=counted.int8_flops / counted.flops if counted.flops else None,
    )


class _Counted(torch.fx.Interpreter):
    """Follows int8 weights through casts and scales up to the products that read them."""

    def __init__(self, graph: torch.fx.GraphModule) -> None:
        super().__init__(graph)
        self.flops = self.int8_flops = 0.0
        self.int8_weights: dict[str, int] = {}
        """Numbers of elements by the weight's name in the graph."""
        self._from_int8: set[torch.fx.Node] = set()
        """Nodes whose value an int8 weight was made into."""
        for name, module in graph.named_modules():
            weight = _module_weight(module)
            if weight is not None:
                self.int8_weights[f"{name}.weight"] = weight.numel()
        for node in graph.graph.nodes:
            value = _attribute(graph, str(node.target)) if node.op == "get_attr" else None
            elements = _int8_elements(value)
            if elements:
                self.int8_weights[str(node.target)] = elements
                self._from_int8.add(node)

    def run_node(self, n: torch.fx.Node) -> Any:
        if n.op not in {"call_function", "call_module", "call_method"}:
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        module = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
        wrapped = isinstance(n.target, torch._ops.HigherOrderOperator)  # noqa: SLF001 - a product of integers
        counter = WorkCounter()
        with nullcontext() if wrapped or _is_quantised(module) else counter:
            result = super().run_node(n)
        sources = [source for source in n.all_input_nodes if source in self._from_int8]
        weight = _module_weight(module)
        if weight is not None:
            flops = _layer_flops(module, weight, args[0], result)
        elif n.op == "call_function" and _namespace(n.target) == "quantized":
            flops = _packed_flops(args, result)
        elif wrapped and _multiplies(args[0]):
            flops = _integer_flops(args[0], args[2:], kwargs, result)
            counter.products = 1
        else:
            flops = counter.product_flops
        self.flops += flops
        product = bool(counter.products) or weight is not None
        if weight is not None or (sources and (product or _namespace(n.target) == "quantized")):
            self.int8_flops += flops
        elif (
            sources
            and not product
            and all(each in self._from_int8 or each.op == "get_attr" for each in n.all_input_nodes)
        ):  # a weight alone, not an activation that meets one
            self._from_int8.add(n)
        return result


def _namespace(target: Any) -> str:
    return str(getattr(target, "namespace", getattr(target, "__module__", "") or "")).rpartition(".")[2]


def _attribute(graph: torch.nn.Module, target: str) -> Any:
    value: Any = graph
    for name in target.split("."):
        value = getattr(value, name, None)
    return value


def _int8_elements(value: Any) -> int:
    """Return the number of elements of an int8 weight; 0 of anything else, zero points included."""
    if isinstance(value, torch.ScriptObject) and hasattr(value, "unpack"):  # packed for a quantised kernel
        value = value.unpack()[0]
    if isinstance(value, torch.Tensor) and value.dim() > 1 and value.dtype in BYTES:
        return value.numel()
    return 0


def _is_quantised(module: Any) -> bool:
    path = type(module).__module__
    return ".quantized" in path and FLOAT_KERNELS not in path


def _module_weight(module: Any) -> torch.Tensor | None:
    """Return the weight of a quantised layer, or of one whose weight is rounded in each call."""
    if module is None or isinstance(module, torch.fx.GraphModule):
        return None
    weight = getattr(module, "weight", None)
    if _is_quantised(module) and callable(weight):
        weight = weight()
    elif not hasattr(module, "weight_fake_quant"):
        return None
    return weight if isinstance(weight, torch.Tensor) and weight.dim() > 1 else None


def _layer_flops(module: Any, weight: torch.Tensor, inputs: torch.Tensor, output: torch.Tensor) -> float:
    """Return the FLOPs of a linear layer or a convolution: each weight meets each place of its output."""
    if "Transpose" in type(module).__name__:
        return 2.0 * weight.numel() * inputs.numel() / inputs.shape[1]
    convolves = weight.dim() > 2  # noqa: PLR2004 - more than a matrix
    return 2.0 * weight.numel() * output.numel() / (output.shape[1] if convolves else output.shape[-1])


PRODUCTS = ("linear", "conv1d", "conv2d", "conv3d")
"""Operators that PyTorch has no formula for, since it takes them apart before it counts."""


def _multiplies(operator: Any) -> bool:
    packet = getattr(operator, "overloadpacket", None)
    return packet in flop_registry or getattr(packet, "__name__", "") in PRODUCTS


def _integer_flops(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: torch.Tensor) -> float:
    """Return the FLOPs of a product of integers, which a higher-order operator wraps to choose the result's type."""
    name = operator.overloadpacket.__name__
    if name in PRODUCTS:
        weight = args[1]
        return float(2 * weight.numel() * output.numel() / output.shape[-1 if name == "linear" else 1])
    return product_flops(operator, name, args, kwargs, output) or 0.0


def _packed_flops(args: tuple[Any, ...], output: Any) -> float:
    """Return the FLOPs of a quantised kernel that takes packed weights; of another one, none."""
    packed = next((each for each in args if isinstance(each, torch.ScriptObject) and hasattr(each, "unpack")), None)
    if packed is None or not isinstance(output, torch.Tensor):
        return 0.0
    weight = packed.unpack()[0]
    return float(2 * weight.numel() * math.prod(output.shape) / weight.shape[0])
