"""The operators of ONNX Runtime's optimised graph, with the shapes that a session infers without running."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from almaflow.records.operators import Operator, OperatorGraph, OperatorTensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import onnx

    from almaflow.records import ModelSpec, PlannedConversion

OPTIMISED, OUTSIDE = "optimised.onnx", "optimised.data"
VIEWS = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout"})
"""Operators whose output ONNX Runtime lays where their input is."""
SMALL = 16
"""Elements of a constant up to which its values are kept, where the work may depend on them."""
BY_VALUE = frozenset({"Clip", "Pow", "Resize", "Pad", "Upsample", "QuickGelu"})
"""Operators whose work depends on the values of constants that are no integers."""
PRODUCTS = frozenset({"Conv", "FusedConv", "ConvTranspose"})
MATRIX_PRODUCTS = frozenset({"MatMul", "Gemm", "FusedMatMul", "FusedGemm", "TransposeMatMul"})
LARGEST = 1e300
UNKNOWN = -1
"""A size that depends on values."""


def graph(spec: ModelSpec, planned: PlannedConversion, threads: int, directory: Path) -> OperatorGraph:
    """Export and open the model as its conversion does, and return what the session would execute."""
    import onnxruntime
    import torch

    from almaflow.conversions.build import build
    from almaflow.conversions.built.model import BuildInputs
    from almaflow.models.build import build_example
    from almaflow.worker.threads import set_threads

    set_threads(threads)
    example = build_example(spec, 1)
    with torch.no_grad(), _saving_sessions(directory):
        build(planned, example.model, BuildInputs(example.batches, threads))
    versions = {"onnxruntime": onnxruntime.__version__, "torch": torch.__version__}
    return OperatorGraph(planned.name, read(directory / OPTIMISED), versions)


def operators_of(path: Path, threads: int) -> tuple[Operator, ...]:
    """Return what a session on an ONNX file would execute; the file's directory gets further files."""
    from almaflow.conversions.built.onnx_sessions import CPU, OnnxSessions

    with _saving_sessions(path.parent):
        OnnxSessions(CPU, threads).open(path)
    return read(path.parent / OPTIMISED)


@contextmanager
def _saving_sessions(directory: Path) -> Iterator[None]:
    """Make ONNX Runtime's sessions write the graph that they would execute."""
    import onnxruntime

    def open_session(path: str, sess_options: Any = None, **others: Any) -> Any:
        options = sess_options or onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(directory / OPTIMISED)
        options.log_severity_level = 3  # it warns that the file is for this machine alone, which is what is wanted
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", OUTSIDE)
        options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
        return original(path, sess_options=options, **others)

    original = onnxruntime.InferenceSession
    with patch("onnxruntime.InferenceSession", open_session):
        yield


def read(path: Path) -> tuple[Operator, ...]:
    """Return the operators of an ONNX file in the order in which ONNX Runtime executes them."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    constants = {each.name: _constant(each) for each in model.graph.initializer}
    shapes = _inferred(model, path.parent)
    opsets = {each.domain: each.version for each in model.opset_import}
    return tuple(_operator(node, constants, shapes, opsets) for node in model.graph.node)


def _inferred(model: onnx.ModelProto, directory: Path) -> dict[str, OperatorTensor]:
    """Return all activations: a session knows the types and shapes of its outputs, and so all become outputs."""
    import onnx
    import onnxruntime

    every = onnx.ModelProto()
    every.CopyFrom(model)
    given = {each.name for each in every.graph.output}
    names = [name for node in every.graph.node for name in node.output if name and name not in given]
    every.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    path = directory / "every.onnx"
    path.write_bytes(every.SerializeToString())
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_prepacking", "1")
    session = onnxruntime.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
    return {each.name: _tensor(each.type, each.shape) for each in (*session.get_inputs(), *session.get_outputs())}


_TYPES = {"float": "float32", "double": "float64", "float16": "float16", "bfloat16": "bfloat16"}
_SIZES = {"float64": 8, "int64": 8, "uint64": 8, "float16": 2, "bfloat16": 2, "int16": 2, "uint16": 2}
_SIZES |= {"bool": 1, "int8": 1, "uint8": 1}


def _tensor(kind: str, shape: list[Any]) -> OperatorTensor:
    name = kind.removeprefix("tensor(").removesuffix(")")
    dtype = _TYPES.get(name, name)
    sizes = tuple(size if isinstance(size, int) else UNKNOWN for size in shape)
    return OperatorTensor(dtype, sizes, bytes=float(_SIZES.get(dtype, 4) * max(0, prod(sizes))))


def _constant(tensor: onnx.TensorProto) -> OperatorTensor:
    import onnx
    from onnx import numpy_helper

    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).name
    shape = tuple(tensor.dims)
    outside = tensor.data_location == onnx.TensorProto.EXTERNAL
    small = prod(shape) <= SMALL and not outside
    values = tuple(_finite(each) for each in numpy_helper.to_array(tensor).ravel().tolist()) if small else None
    return OperatorTensor(dtype, shape, "", True, values, float(_SIZES.get(dtype, 4) * prod(shape)))  # noqa: FBT003


def _finite(value: float) -> float:
    """Return the value as JSON can hold it."""
    return 0.0 if value != value else max(-LARGEST, min(LARGEST, float(value)))  # noqa: PLR0124 - NaN is not itself


def _operator(
    node: onnx.NodeProto,
    constants: Mapping[str, OperatorTensor],
    shapes: Mapping[str, OperatorTensor],
    opsets: Mapping[str, int],
) -> Operator:
    def given(name: str) -> OperatorTensor | None:
        if name not in constants:
            return shapes.get(name) if name else None
        constant = constants[name]
        counts = constant.dtype.startswith(("int", "uint", "bool")) or node.op_type in BY_VALUE
        return constant if counts else replace(constant, values=None)

    inputs = tuple(given(name) for name in node.input)
    outputs = tuple(shapes.get(name) if name else None for name in node.output)
    kind = f"{node.domain}:{node.op_type}" if node.domain not in {"", "ai.onnx"} else node.op_type
    attributes = _attributes(node) | {"opset": opsets.get(node.domain, 1)}
    flops = _flops(node.op_type, attributes, inputs, outputs)
    return Operator(node.name, kind, attributes, inputs, outputs, flops, is_view=kind in VIEWS)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes as plain values; one that holds a graph or a tensor is named only."""
    from onnx import helper

    found = {}
    for each in sorted(node.attribute, key=lambda attribute: attribute.name):
        value = helper.get_attribute_value(each)
        if isinstance(value, bytes):
            value = value.decode()
        elif not isinstance(value, (int, float)):
            values = list(value) if not hasattr(value, "SerializeToString") else None
            plain = values is not None and all(isinstance(item, (int, float, bytes)) for item in values)
            value = [v.decode() if isinstance(v, bytes) else v for v in values or ()] if plain else "not plain"
        found[each.name] = value
    return found


def _flops(
    kind: str,
    attributes: Mapping[str, Any],
    inputs: tuple[OperatorTensor | None, ...],
    outputs: tuple[OperatorTensor | None, ...],
) -> float:
    written = float(max(0, prod(outputs[0].shape))) if outputs and outputs[0] else 0.0
    if kind in PRODUCTS and len(inputs) > 1 and inputs[1]:
        return 2.0 * written * prod(inputs[1].shape[1:])
    if kind in MATRIX_PRODUCTS and inputs[0] and inputs[0].shape:
        first = inputs[0].shape
        return 2.0 * written * (first[-2] if attributes.get("transA") and len(first) > 1 else first[-1])
    return written
