"""Find which share of an ONNX file or of an OpenVINO model is narrow; its runtime's module passes it on as evidence."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NARROW_ONNX = ("INT8", "UINT8", "INT4", "UINT4", "FLOAT16", "BFLOAT16")
NARROW_OPENVINO = ("i8", "u8", "i4", "u4", "f16", "bf16")
THROUGH_ONNX = ("DequantizeLinear", "Transpose", "Reshape", "Cast", "Identity", "Squeeze", "Unsqueeze")
THROUGH_OPENVINO = ("Convert", "Subtract", "Multiply", "Reshape", "Transpose", "FakeQuantize", "Squeeze", "Unsqueeze")
"""Operators between a stored weight and the product that reads it."""
RECURRENT = ("LSTM", "GRU", "RNN", "LSTMSequence", "GRUSequence", "RNNSequence", "LSTMCell", "GRUCell", "RNNCell")
CONVOLUTIONS = ("Conv", "Convolution", "GroupConvolution")
TRANSPOSED = ("ConvTranspose", "ConvolutionBackpropData", "GroupConvolutionBackpropData")
EXECUTED = ("Convolution", "Deconvolution", "FullyConnected", "MatMul", "RNNSeq", "RNNCell")
"""Kinds of layers of OpenVINO's CPU plug-in that are products."""
PRODUCTS = (*CONVOLUTIONS, *TRANSPOSED, "Gemm", "MatMul", *RECURRENT)


@dataclass
class _Tally:
    weights: dict[str, int] = field(default_factory=dict)
    """Elements by name, since steps of a sequence share them."""
    narrow_weights: dict[str, int] = field(default_factory=dict)
    flops: float = 0.0
    narrow_flops: float = 0.0
    unknown: bool = False

    def add(self, weights: dict[str, int], flops: float | None, *, narrow: bool) -> None:
        self.weights |= weights
        self.narrow_weights |= weights if narrow else {}
        self.unknown |= flops is None
        self.flops += flops or 0.0
        self.narrow_flops += (flops or 0.0) * narrow

    def shares(self) -> tuple[float | None, float | None]:
        total = sum(self.weights.values())
        weights = sum(self.narrow_weights.values()) / total if total else None
        return weights, None if self.unknown or not self.flops else self.narrow_flops / self.flops


def onnx_shares(path: Path) -> tuple[float | None, float | None]:
    """Return the shares of weights and of FLOPs of products that are narrower than float32 in an ONNX file, 0 to 1.

    Either is None where it is not known: a file without weights, or one whose sizes are not fixed.
    """
    import onnx
    from onnx import shape_inference

    try:
        model = shape_inference.infer_shapes(onnx.load(path, load_external_data=False))
    except (ValueError, shape_inference.InferenceError):  # more than 2 GB, or an operator without a rule
        model = onnx.load(path, load_external_data=False)
    graph = model.graph
    stored = {each.name: each for each in graph.initializer}
    made_by = {output: node for node in graph.node for output in node.output}
    shapes = {value.name: _shape(value) for value in (*graph.value_info, *graph.input, *graph.output)}
    shapes |= {name: tuple(each.dims) for name, each in stored.items()}
    tally = _Tally()
    for node in graph.node:
        if node.op_type not in PRODUCTS:
            continue
        sources = [_initializer(name, stored, made_by) for name in node.input]
        weights = [each for each in sources if each is not None and len(each.dims) > 1]
        narrow = any(onnx.TensorProto.DataType.Name(each.data_type) in NARROW_ONNX for each in weights)
        flops = _flops(
            node.op_type,
            [tuple(each.dims) for each in weights],
            [shapes.get(name) for name in node.input],
            shapes.get(node.output[0]),
        )
        tally.add({each.name: math.prod(each.dims) for each in weights}, flops, narrow=narrow)
    return tally.shares()


def _shape(value: Any) -> tuple[int, ...] | None:
    if not value.type.tensor_type.HasField("shape"):
        return None
    sizes = tuple(each.dim_value for each in value.type.tensor_type.shape.dim)
    return sizes if all(sizes) else None


def _initializer(name: str, stored: dict[str, Any], made_by: dict[str, Any]) -> Any:
    """Return the stored tensor that an input was made from by casts, scales and views alone."""
    while name not in stored:
        node = made_by.get(name)
        if node is None or node.op_type not in THROUGH_ONNX:
            return None
        name = node.input[0]
    return stored[name]


def openvino_shares(model: Any, compiled: Any = None) -> tuple[float | None, float | None]:
    """Return the shares of weights and of FLOPs of products that are narrower than float32 in an OpenVINO model.

    Args:
        model: The ``openvino.Model`` that was compiled: with FakeQuantize operations, or with narrow constants.
        compiled: The ``CompiledModel``; with it counts what the device executes in a narrow type, not what is stored.
    """
    executed = _executed(compiled) if compiled is not None else None
    tally = _Tally()
    for operation in model.get_ordered_ops():
        kind = operation.get_type_name()
        if kind not in PRODUCTS:
            continue
        sources = [_constant(operation.input_value(i).get_node()) for i in range(operation.get_input_size())]
        weights = [constant for constant, _ in sources if constant is not None and len(constant.shape) > 1]
        stored = any(
            quantised or constant.get_element_type().get_type_name() in NARROW_OPENVINO
            for constant, quantised in sources
            if constant is not None and len(constant.shape) > 1
        )
        narrow = stored if executed is None else executed.get(_place(operation.get_friendly_name()), stored)
        flops = _flops(
            kind,
            [tuple(constant.shape) for constant in weights],
            [_fixed(operation.input_value(i)) for i in range(operation.get_input_size())],
            _fixed(operation.output(0)),
        )
        elements = {constant.get_friendly_name(): math.prod(constant.shape) for constant in weights}
        tally.add(elements, flops, narrow=narrow)
    return tally.shares()


def _fixed(port: Any) -> tuple[int, ...] | None:
    shape = port.get_partial_shape()
    return tuple(shape.to_shape()) if shape.is_static else None


def _constant(node: Any) -> tuple[Any, bool]:
    """Return the constant that a value was made from by casts and scales alone, and whether it was quantised there."""
    quantised = False
    while node.get_type_name() in THROUGH_OPENVINO:
        quantised |= node.get_type_name() == "FakeQuantize"
        node = node.input_value(0).get_node()
    return (node if node.get_type_name() == "Constant" else None), quantised


def _executed(compiled: Any) -> dict[str, bool]:
    """Return, by the place of an operation in the model, whether the layer that executes it takes a narrow type.

    A fused layer goes by the name of the addition behind its product.
    """
    found: dict[str, bool] = {}
    for layer in compiled.get_runtime_model().get_ordered_ops():
        info = layer.get_rt_info()
        if _text(info, "layerType") in EXECUTED:
            precision = _text(info, "runtimePrecision").lower()
            places = [_place(name) for name in _text(info, "originalLayersNames").split(",")]
            found |= dict.fromkeys(places, precision in NARROW_OPENVINO)
    return found


def _place(name: str) -> str:
    return name.rpartition("/")[0] or name


def _text(info: Any, key: str) -> str:
    if key not in info:
        return ""
    value = info[key]
    return str(value.astype(str) if hasattr(value, "astype") else value)


def _flops(
    kind: str,
    weights: Sequence[tuple[int, ...]],
    inputs: Sequence[tuple[int, ...] | None],
    output: tuple[int, ...] | None,
) -> float | None:
    """Return the FLOPs of a product; None where a size is not known."""
    first = inputs[0]
    elements = sum(map(math.prod, weights))
    if first is None or output is None:
        return None
    if kind in RECURRENT:  # each weight meets each step of each sequence
        return 2.0 * elements * math.prod(first[:-1])
    if kind in CONVOLUTIONS:
        return 2.0 * elements * math.prod(output) / output[1]
    if kind in TRANSPOSED:
        return 2.0 * elements * math.prod(first) / first[1]
    length = first[-1] if kind == "MatMul" or not weights else elements / output[-1]
    return 2.0 * math.prod(output) * length
