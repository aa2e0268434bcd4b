"""Pieces of an OpenVINO model: cut out as plain data without the model's weights, and made into a model again."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

Described = tuple[str, tuple[int, ...], tuple[float, ...] | None]
"""Element type, shape, and the values of a small constant."""

OPSETS = range(16, 0, -1)
SMALL = 16
"""Elements of an integer constant up to which its values are kept."""
WINDOWS = {"Convolution": 1, "GroupConvolution": 2, "ConvolutionBackpropData": 1, "GroupConvolutionBackpropData": 2}
"""The dimension from which on a weight of these operations counts multiplications for an element of the output."""


@dataclass
class Piece:
    """Operations between executed operators and the one that they become."""

    inputs: list[tuple[str, Described]] = field(default_factory=list)
    """The operation that gives each input, and what it is."""
    constants: list[Described] = field(default_factory=list)
    outputs: list[Described] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    """Places of these outputs: one that nobody reads is not computed, such as the places of a pool's maxima."""
    operations: list[dict[str, Any]] = field(default_factory=list)
    """Type, attributes and sources: ``x0`` is an input, ``c0`` a constant, ``0.1`` the second output of the first."""
    flops: float = 0.0


def cut(last: Any, executed: Collection[str]) -> Piece:
    """Return the piece that ends with an operation.

    Args:
        last: The operation.
        executed: Names of the operations whose outputs executed operators give, where the piece begins.
    """
    piece, places = Piece(), dict[str, str]()
    _add(last, last.get_friendly_name(), executed, piece, places)
    used = [port for port in last.outputs() if port.get_target_inputs()]
    piece.taken = [port.get_index() for port in used]
    piece.outputs = [_described(port) for port in used]
    return piece


def _add(node: Any, last: str, executed: Collection[str], piece: Piece, places: dict[str, str]) -> str:
    """Add an operation with all before it, and return its place."""
    name = node.get_friendly_name()
    if name in places:
        return places[name]
    sources = []
    for port in node.inputs():
        source = port.get_source_output()
        before, index = source.get_node(), source.get_index()
        kind, origin = before.get_type_name(), before.get_friendly_name()
        if kind == "Constant":
            sources.append(_once(f"{origin} constant", "c", piece.constants, _constant(before), places))
        elif kind == "Parameter" or (origin in executed and origin != last):
            key = f"{origin} {index}"
            sources.append(_once(key, "x", piece.inputs, (origin, _described(source)), places))
        else:
            sources.append(f"{_add(before, last, executed, piece, places)}.{index}")
    attributes = {key: value for key, value in node.get_attributes().items() if _is_plain(value)}
    kind = node.get_type_name()
    piece.operations.append({"type": kind, "attributes": attributes, "sources": sources})
    piece.flops += _flops(kind, node)
    places[name] = str(len(piece.operations) - 1)
    return places[name]


def _once(key: str, letter: str, rows: list[Any], row: Any, places: dict[str, str]) -> str:
    if key not in places:
        places[key] = f"{letter}{len(rows)}"
        rows.append(row)
    return places[key]


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return isinstance(value, (bool, int, float, str))


def _described(port: Any) -> Described:
    kind = "bool" if port.get_element_type().get_type_name() == "boolean" else port.get_element_type().to_dtype().name
    return kind, tuple(port.get_shape()), None


def _constant(node: Any) -> Described:
    kind, shape, _ = _described(node.output(0))
    exact = not kind.startswith("float") and prod(shape) <= SMALL
    values = tuple(float(each) for each in node.get_data().ravel()) if exact or prod(shape) == 1 else None
    return kind, shape, values


def _flops(kind: str, node: Any) -> float:
    written = float(prod(node.output(0).get_shape()))
    if kind in WINDOWS:
        return 2.0 * written * float(prod(node.input(1).get_shape()[WINDOWS[kind] :]))
    if kind == "MatMul":
        shape = node.input(0).get_shape()
        is_turned = node.get_attributes()["transpose_a"] and len(shape) > 1
        return 2.0 * written * float(shape[-2] if is_turned else shape[-1])
    if kind == "ScaledDotProductAttention":
        return 4.0 * written * float(node.input(1).get_shape()[-2])
    return 0.0


def rebuilt(operations: Sequence[Mapping[str, Any]], inputs: Sequence[Any], constants: Sequence[Any]) -> Any:
    """Return the last of the operations, on outputs of other nodes.

    Args:
        operations: Those of a piece.
        inputs: An output for each input.
        constants: An output for each constant.
    """
    made: list[Any] = []
    for each in operations:
        sources = [
            (inputs if source[0] == "x" else constants)[int(source[1:])]
            if source[0] in "xc"
            else made[int(source.split(".")[0])].output(int(source.split(".")[1]))
            for source in each["sources"]
        ]
        made.append(_factory(each["type"]).create(each["type"], sources, dict(each["attributes"])))
    return made[-1]


@cache
def _factory(kind: str) -> Any:
    """Return the factory of the newest set of operations that has one of this type."""
    from openvino.utils.node_factory import NodeFactory

    for number in OPSETS:
        try:
            factory = NodeFactory(f"opset{number}")
            factory.create(kind)
        except RuntimeError:  # this set does not have it, or there is no such set
            continue
        return factory
    message = f"OpenVINO has no operation {kind}"
    raise NotImplementedError(message)


def values_of(described: Described, seed: int) -> NDArray[Any]:
    """Return an array as a model may have it: the values that are known, small numbers, or zeros for indices."""
    kind, shape, values = described
    if values is not None:
        return np.array(values).astype(kind).reshape(shape)
    if kind.startswith("float"):
        draw = np.random.default_rng(seed).random(shape, np.float32) + np.float32(0.5)
        return (draw / np.float32(max(1, prod(shape[1:])))).astype(kind)
    return np.zeros(shape, kind)
