"""Find the operators that a runtime makes of single layers, without a model in PyTorch and without running any.

The question has ``conversion``, ``threads`` and ``layers``; the answer is a list of operators. The layers are written
as one ONNX file with an input and an output for each, which the runtime then opens as it would a model's.
"""

from __future__ import annotations

import os
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from almaflow.records import to_dict
from almaflow.records.child_entry import answer_once
from almaflow.records.plan import EAGER
from almaflow.worker.operators.graph import GRAPHS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.records.operators import Operator

OPSET, IR_VERSION = 20, 9
SIMPLE: dict[str, tuple[str, dict[str, Any]]] = {
    "softmax": ("Softmax", {"axis": -1}),
    "gelu": ("Gelu", {}),
    "sigmoid": ("Sigmoid", {}),
    "max_pool": ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "average_pool": ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "relu": ("Relu", {}),
    "hardswish": ("HardSwish", {}),
}
BEHIND_CONVOLUTION = frozenset({"max_pool", "average_pool", "mean", "multiply", "image_add", "sigmoid", "concat"})


class _Writer:
    """Writes nodes; each function returns the name of what it made."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.constants: list[Any] = []
        self._count = 0

    def name(self) -> str:
        self._count += 1
        return f"t{self._count}"

    def given(self, shape: Sequence[int]) -> str:
        name = self.name()
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))
        return name

    def weight(self, *shape: int) -> str:
        name = self.name()
        values = np.random.default_rng(self._count).standard_normal(shape, np.float32) * np.float32(0.05)
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def exact(self, values: Any, dtype: str) -> str:
        name = self.name()
        self.constants.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def node(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = self.name()
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"n{self._count}", **attributes))
        return name

    def taken(self, name: str) -> None:
        self.outputs.append(onnx.ValueInfoProto(name=name))


def main(task: dict[str, Any]) -> Any:
    """Write the layers, open them, and return the operators; those of eager PyTorch need no file."""
    if task["conversion"] == EAGER:
        from almaflow.worker.operators.eager_layers import operators_of_layers

        return to_dict(list({each.key: each for each in operators_of_layers(task["layers"])}.values()))
    with tempfile.TemporaryDirectory(prefix="almaflow-operators-") as scratch:
        path = Path(scratch, "layers.onnx")
        write(task["layers"], path)
        module = import_module(GRAPHS[task["conversion"]])
        os.chdir(scratch)
        operators: tuple[Operator, ...] = module.operators_of(path, task["threads"])
        os.chdir("/")
    return to_dict(list({each.key: each for each in operators}.values()))


def write(layers: Sequence[dict[str, Any]], path: Path) -> None:
    """Write an ONNX file with all layers beside each other."""
    writer = _Writer()
    for layer in layers:
        writer.taken(_layer(writer, layer))
    graph = helper.make_graph(writer.nodes, "layers", writer.inputs, writer.outputs, writer.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)


def _layer(writer: _Writer, layer: dict[str, Any]) -> str:
    kind, shape = layer["kind"], layer["shape"]
    given = writer.given(shape)
    if kind in BEHIND_CONVOLUTION:
        given = writer.node("Conv", [given, writer.weight(shape[1], shape[1], 1, 1)], kernel_shape=[1, 1])
    if kind in SIMPLE:
        name, attributes = SIMPLE[kind]
        return writer.node(name, [given], **attributes)
    return _WRITERS[kind](writer, layer, given)


def _linear(writer: _Writer, layer: dict[str, Any], given: str) -> str:
    weights = [writer.weight(layer["shape"][1], layer["out"]), writer.weight(layer["out"])]
    return _activated(writer, writer.node("Gemm", [given, *weights]), layer["activation"])


def _product(writer: _Writer, layer: dict[str, Any], given: str) -> str:
    return writer.node("MatMul", [given, writer.given(layer["other"])])


def _norm(writer: _Writer, layer: dict[str, Any], given: str) -> str:
    width = layer["shape"][-1]
    return writer.node("LayerNormalization", [given, writer.weight(width), writer.weight(width)], axis=-1)


def _add(writer: _Writer, layer: dict[str, Any], given: str) -> str:
    return writer.node("Add", [given, writer.given(layer["shape"])])


def _multiply(writer: _Writer, layer: dict[str, Any], given: str) -> str:
    """Multiply by one factor for each channel, as a gate does."""
    return writer.node("Mul", [given, writer.given([*layer["shape"][:2], 1, 1])])


def _transpose(writer: _Writer, layer: dict[str, Any], given: str) -> str:
    return writer.node("Transpose", [given], perm=[1, 0, 2] if layer["shape"][0] > 1 else [0, 2, 1])


def _mean(writer: _Writer, _layer: dict[str, Any], given: str) -> str:
    return writer.node("ReduceMean", [given, writer.exact([-1, -2], "int64")], keepdims=1)


def _concat(writer: _Writer, _layer: dict[str, Any], given: str) -> str:
    return writer.node("Concat", [given, given], axis=1)


def _conv(writer: _Writer, layer: dict[str, Any], given: str) -> str:
    shape, out, kernel = layer["shape"], layer["out"], layer["kernel"]
    weight = writer.weight(out, shape[1] // layer["groups"], kernel, kernel)
    made = writer.node(
        "Conv",
        [given, weight, writer.weight(out)],
        kernel_shape=[kernel, kernel],
        strides=[layer["stride"]] * 2,
        pads=[kernel // 2] * 4,
        group=layer["groups"],
    )
    if layer["residual"]:
        side = shape[2] + 2 * (kernel // 2) - kernel + 1
        other = writer.given([shape[0], out, side, side])
        # a convolution gives the other tensor its layout, as within a model
        other = writer.node("Conv", [other, writer.weight(out, out, 1, 1)], kernel_shape=[1, 1])
        made = writer.node("Add", [made, other])
    return _activated(writer, made, layer["activation"])


def _activated(writer: _Writer, given: str, activation: str) -> str:
    if activation == "none":
        return given
    if activation == "relu6":
        return writer.node("Clip", [given, writer.exact(0.0, "float32"), writer.exact(6.0, "float32")])
    if activation == "silu":
        return writer.node("Mul", [given, writer.node("Sigmoid", [given])])
    name, attributes = SIMPLE[activation]
    return writer.node(name, [given], **attributes)


_WRITERS = {
    "conv": _conv,
    "linear": _linear,
    "product": _product,
    "norm": _norm,
    "add": _add,
    "image_add": _add,
    "multiply": _multiply,
    "transpose": _transpose,
    "mean": _mean,
    "concat": _concat,
}
"""What writes a layer, by its kind, where one node of ``SIMPLE`` does not."""


if __name__ == "__main__":
    answer_once(main)
