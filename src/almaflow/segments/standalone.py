"""A graph of dynamo's as code that stands by itself: its sizes filled in, its parts named by their order."""

from __future__ import annotations

import operator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.fx import Graph, GraphModule, Node, map_arg

from almaflow.models.graph_code import GraphCode, WeightLayout
from almaflow.segments.identity import digest, qualified, values_digest

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from almaflow.records.profile import Ambient, SegmentTensor
    from almaflow.segments.capture import Place

_SIZE_METHODS = frozenset({"size", "stride", "numel", "dim", "storage_offset"})
_PLAIN = (torch.Tensor, torch.nn.Parameter)


@dataclass(frozen=True)
class Standalone:
    """A graph with its sizes filled in."""

    code: GraphCode
    weights: dict[str, torch.Tensor]
    """Weights by their names in a state dict; a tied one comes once."""
    taken: tuple[int, ...]
    """Places of the tensors among the arguments."""
    given: tuple[int, ...]
    """Places of the tensors among the outputs."""
    outputs: tuple[Any, ...]
    """The outputs that are no tensors, such as sizes, at their places; None where there is a tensor."""
    operators: list[str]
    """Names of its operators in order, without those that only compute sizes."""
    unmeasurable: str | None = None
    written: tuple[int, ...] = ()
    """Places of the arguments that it writes to and gives after its outputs."""

    def weights_digest(self) -> str:
        """Hash the weights' values, at about a second per gigabyte."""
        return values_digest(self.weights.items())

    def family_id(self, place: Place, inputs: Sequence[SegmentTensor], ambient: Ambient) -> str:
        """Hash what stays the same where only sizes change.

        It is the place in the source, operators, shapes of weights, types and devices of inputs, and settings.
        """
        weights = [[str(each.dtype), list(each.shape), each.device.type] for each in self.weights.values()]
        taken = [[each.dtype, each.device, len(each.shape)] for each in inputs]
        return digest([place.file, place.line, place.frame, self.operators, weights, taken, asdict(ambient)])

    def segment_id(self, inputs: Sequence[SegmentTensor], ambient: Ambient) -> str:
        """Hash all but the weights' values."""
        return digest([_facts(self.code), [asdict(each) for each in inputs], asdict(ambient)])


def standalone(
    module: GraphModule, args: Sequence[object], weights: Collection[int] = (), written: Sequence[int] = ()
) -> Standalone:
    """Fill in the sizes that a graph was called with, and name its parts by their order.

    So that a graph for one size and a graph for all sizes are one at this size, and layers that are alike are one.

    Args:
        module: A graph as dynamo gives it to a backend.
        args: The arguments of the call.
        weights: The places of those that are weights.
        written: The places of tensors that the graph writes to, which the code is to give after the outputs.
    """
    return _Filling(module, args, weights, written).result()


def sizes_in(module: GraphModule) -> tuple[int, ...]:
    """Return the places of the arguments that are sizes."""
    placeholders = module.graph.find_nodes(op="placeholder")
    return tuple(i for i, each in enumerate(placeholders) if isinstance(_example(each), torch.SymInt))


def weights_in(example_inputs: Sequence[object]) -> tuple[int, ...]:
    """Return the places of the weights among the arguments: parameters, and buffers that dynamo found in modules."""
    return tuple(
        place
        for place, each in enumerate(example_inputs)
        if isinstance(each, torch.nn.Parameter) or getattr(each, "_dynamo_static_input_type", None)
    )


class _Filling:
    """Copies a graph, with numbers for its sizes."""

    def __init__(
        self, module: GraphModule, args: Sequence[object], weights: Collection[int], written: Sequence[int]
    ) -> None:
        self._module = module
        self._written = written
        self._inputs: dict[int, Node] = {}
        self._args = args
        self._places = weights
        self._symbols: dict[Any, int] = {}
        self._names: dict[int, str] = {}
        self._weights: dict[str, torch.Tensor] = {}
        self._parts: dict[str, GraphCode] = {}
        self._graph = Graph()
        self._made: dict[Node, Any] = {}
        self._taken: list[int] = []
        self._given: tuple[int, ...] = ()
        self._outputs: tuple[Any, ...] = ()
        self._odd: str | None = None
        self._operators: list[str] = []

    def result(self) -> Standalone:
        nodes = list(self._module.graph.nodes)
        placeholders = [node for node in nodes if node.op == "placeholder"]
        for node, value in zip(placeholders, self._args, strict=False):
            example = _example(node)
            if isinstance(example, torch.SymInt) and isinstance(value, int):
                self._symbols[example.node.expr] = value
        for node in nodes:
            self._made[node] = self._copied(node, placeholders)
        for node in reversed(list(self._graph.nodes)):
            if node.op == "call_method" and node.target in _SIZE_METHODS and not node.users:
                self._graph.erase_node(node)
        if not self._taken:
            self._odd = self._odd or "it takes no tensor"
        code = self._graph.python_code("self")
        layouts = {name: WeightLayout.of(tensor) for name, tensor in self._weights.items() if "." not in name}
        return Standalone(
            GraphCode(code.src, dict(code.globals), layouts, self._parts),
            self._weights,
            tuple(self._taken),
            self._given,
            self._outputs,
            self._operators,
            self._odd,
            tuple(self._written),
        )

    def _copied(self, node: Node, placeholders: list[Node]) -> Any:
        """Return what stands for a node in the copy: a node, or a number."""
        known = self._number(_example(node))
        if known is not None:
            return known
        if node.op == "placeholder":
            return self._placeholder(placeholders.index(node))
        if node.op == "get_attr":
            return self._graph.get_attr(self._attribute(str(node.target)))
        arguments = map_arg(node.args, self._made.__getitem__)
        if node.op == "output":
            return self._output(arguments[0])
        if not _is_size(node):
            self._operators.append(str(node.target) if node.op == "call_method" else qualified(node.target))
        target = node.target
        if node.op == "call_module":
            target = self._attribute(str(target))
        return self._graph.create_node(node.op, target, arguments, map_arg(node.kwargs, self._made.__getitem__))

    def _number(self, example: object) -> int | float | bool | None:
        """Return the value of a size that is an expression of the sizes among the arguments."""
        if not isinstance(example, torch.SymInt | torch.SymFloat | torch.SymBool):
            return None
        value = example.node.expr.xreplace(self._symbols)
        if getattr(value, "free_symbols", None):
            return None
        if isinstance(example, torch.SymBool):
            return bool(value)
        return int(value) if isinstance(example, torch.SymInt) else float(value)

    def _placeholder(self, index: int) -> Node:
        value = self._args[index]
        if index in self._places:
            return self._graph.get_attr(self._named(value))
        if type(value) not in _PLAIN or value.layout is not torch.strided or value.is_quantized:  # type: ignore[attr-defined]
            self._odd = self._odd or f"it takes a {_kind(value)}"
        self._taken.append(index)
        self._inputs[index] = self._graph.placeholder(f"input_{len(self._taken) - 1}")
        return self._inputs[index]

    def _attribute(self, target: str) -> str:
        """Return the name that an attribute has in the copy."""
        return self._named(operator.attrgetter(target)(self._module))

    def _named(self, value: Any) -> str:
        if id(value) in self._names:
            return self._names[id(value)]
        if isinstance(value, torch.Tensor):
            name = f"weight_{len(self._weights)}"
            self._weights[name] = value
            if type(value) not in _PLAIN or value.layout is not torch.strided:
                self._odd = self._odd or f"it has a weight of the type {_kind(value)}"
        else:
            name = f"part_{len(self._parts)}"
            if isinstance(value, GraphModule):
                part = standalone(value, [_example(each) for each in value.graph.find_nodes(op="placeholder")])
                self._parts[name] = part.code
                self._weights |= {f"{name}.{inner}": tensor for inner, tensor in part.weights.items()}
            else:
                self._odd = self._odd or f"it calls a {_kind(value)} as a whole"
        self._names[id(value)] = name
        return name

    def _output(self, results: Any) -> Node:
        flat = results if isinstance(results, tuple | list) else (results,)
        self._given = tuple(i for i, each in enumerate(flat) if isinstance(each, Node))
        self._outputs = tuple(None if isinstance(each, Node) else each for each in flat)
        if not self._given:
            self._odd = self._odd or "it gives no tensor"
        given = [*(flat[i] for i in self._given), *(self._inputs[place] for place in self._written)]
        made: Node = self._graph.output(tuple(given))
        return made


def _example(node: Node) -> Any:
    return node.meta.get("example_value")


def _is_size(node: Node) -> bool:
    """Whether a node only computes sizes."""
    sized = node.op == "call_method" and node.target in _SIZE_METHODS
    return sized or isinstance(_example(node), torch.SymInt | torch.SymFloat | torch.SymBool)


def _facts(code: GraphCode) -> list[Any]:
    """Return what a code is: its text, and the functions that it names."""
    names = sorted([name, qualified(value)] for name, value in code.names.items())
    weights = [[name, *map(str, vars(layout).values())] for name, layout in code.weights.items()]
    return [code.source, names, weights, [_facts(part) for part in code.parts.values()]]


def _kind(value: object) -> str:
    layout = getattr(value, "layout", torch.strided)
    return type(value).__qualname__ if layout is torch.strided else f"{layout} tensor".removeprefix("torch.")
