"""Times single operators of ONNX Runtime, each a model of one node, on one pool of threads.

Each session would have a pool of its own, whose threads spin for more work while the next session computes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from math import prod
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from almaflow.conversions.built.onnx_sessions import feed
from almaflow.records.operators import Operator, OperatorTensor
from almaflow.worker.operators.floors import shortest_us

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

IR_VERSION, OPSET = 9, 18
EVICTING_MB = 64
"""The memory that is written between cold calls; larger than the last cache of most machines."""
LONG_BYTES = 2048
"""Bytes of an input from which it is written again before each call, as the operator before would."""
INDEXED = frozenset({"Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "EmbedLayerNormalization"})


def start(threads: int) -> None:
    """Give all sessions of this process one pool of threads; call it before the first session."""
    onnxruntime.set_global_thread_pool_sizes(threads, 1)


def session_of(model: ModelProto) -> onnxruntime.InferenceSession:
    """Open a model as it is, on the shared threads."""
    return _opened(model.SerializeToString(), onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)


def chain_call(path: Path, example: torch.Tensor) -> Callable[[], object]:
    """Return a call of a whole model as a job makes it, but on the shared threads."""
    forward = feed(_opened(str(path), onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL))
    return lambda: forward(example)


def _opened(model: str | bytes, level: onnxruntime.GraphOptimizationLevel) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.use_per_session_threads = False
    options.graph_optimization_level = level
    options.log_severity_level = 4  # an operator that does not load is reported once, by its error
    return onnxruntime.InferenceSession(model, sess_options=options, providers=["CPUExecutionProvider"])


@dataclass
class TimedOperator:
    """One operator in a session of its own, with its inputs and outputs in memory that stays."""

    operator: Operator
    _session: Any = field(init=False)
    _binding: Any = field(init=False)
    _producers: list[Callable[[], None]] = field(init=False, default_factory=list)
    _consumers: list[Callable[[], None]] = field(init=False, default_factory=list)
    _values: dict[str, Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._session = session_of(_model(self.operator))
        self._binding = self._session.io_binding()
        names = {value.name for value in self._session.get_inputs()}
        for position, tensor in enumerate(self.operator.inputs):
            if tensor is None or (name := f"in{position}") not in names:
                continue
            value = onnxruntime.OrtValue.ortvalue_from_numpy(_array(tensor, self.operator, position))
            self._values[name] = value
            self._binding.bind_ortvalue_input(name, value)
            if tensor.dtype == "float32" and tensor.bytes > LONG_BYTES:
                self._producers.append(_producer(tensor.shape, value))
        for position, output in enumerate(self.operator.outputs):
            if output is not None:
                value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(output.shape), _numpy_type(output))
                self._binding.bind_ortvalue_output(f"out{position}", value)
                if output.dtype == "float32" and output.bytes > LONG_BYTES:
                    self._consumers.append(_producer(output.shape, value))

    def call_us(self) -> float:
        """Return the microseconds of one call whose inputs were just written."""
        for produce in self._producers:
            produce()
        started = perf_counter_ns()
        self._session.run_with_iobinding(self._binding)
        return (perf_counter_ns() - started) / 1000

    def cold_us(self) -> float:
        """Return the microseconds of one call whose weights are in no cache."""
        _evictor()()
        for write in self._consumers:
            write()  # a model's outputs lie where others lay before, which are in the caches
        return self.call_us()


def rest(threads: int) -> dict[str, float]:
    """Return what a call takes beside its operators."""
    from almaflow.worker.operators import onnx_rest

    return onnx_rest.rest(threads)


@cache
def overhead_us() -> float:
    """Return the time of a call that computes nothing: the part of ``call_us`` that no operator of a model has."""
    one = OperatorTensor("float32", (1,), bytes=4.0)
    timed = TimedOperator(Operator("", "Relu", {"opset": OPSET}, (one,), (one,)))
    return shortest_us(timed.call_us)


@cache
def _rewriting(shape: tuple[int, ...]) -> onnxruntime.InferenceSession:
    """Return a session that writes all elements of a tensor, by all threads."""
    one = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    other = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    return session_of(model_of_nodes([helper.make_node("Relu", ["x"], ["y"])], [one], [other]))


def _producer(shape: tuple[int, ...], value: Any) -> Callable[[], None]:
    session = _rewriting(shape)
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", value)
    binding.bind_ortvalue_output("y", value)  # in place: no other memory comes into the caches
    return lambda: session.run_with_iobinding(binding)


@cache
def _evictor() -> Callable[[], None]:
    size = (EVICTING_MB * 1_000_000 // 4,)
    return _producer(size, onnxruntime.OrtValue.ortvalue_from_numpy(np.ones(size, np.float32)))


def _model(operator: Operator) -> ModelProto:
    domain, _, kind = operator.kind.rpartition(":")
    attributes = {name: value for name, value in operator.attributes.items() if name != "opset"}
    inputs = ["" if tensor is None else f"in{position}" for position, tensor in enumerate(operator.inputs)]
    outputs = ["" if tensor is None else f"out{position}" for position, tensor in enumerate(operator.outputs)]
    node = helper.make_node(kind, inputs, outputs, domain=domain or None, **attributes)
    given = [
        helper.make_tensor_value_info(name, _onnx_type(tensor), tensor.shape)
        for name, tensor in zip(inputs, operator.inputs, strict=True)
        if tensor is not None and not tensor.constant
    ]
    constants = [
        numpy_helper.from_array(_array(tensor, operator, position), f"in{position}")
        for position, tensor in enumerate(operator.inputs)
        if tensor is not None and tensor.constant
    ]
    results = [
        helper.make_tensor_value_info(name, _onnx_type(tensor), tensor.shape)
        for name, tensor in zip(outputs, operator.outputs, strict=True)
        if tensor is not None
    ]
    return model_of_nodes([node], given, results, constants, domain, operator.attributes.get("opset", OPSET))


def model_of_nodes(  # noqa: PLR0913, PLR0917 - the parts of a model
    nodes: list[NodeProto],
    inputs: list[Any],
    outputs: list[Any],
    constants: list[Any] | None = None,
    domain: str = "",
    opset: int = OPSET,
) -> ModelProto:
    """Return a model of nodes, all of one domain."""
    graph = helper.make_graph(nodes, "operator", inputs, outputs, constants or [])
    opsets = [helper.make_opsetid(domain, opset)]
    if domain:
        opsets.append(helper.make_opsetid("", OPSET))
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _array(tensor: OperatorTensor, operator: Operator, position: int) -> NDArray[Any]:
    """Return values as a model may have them: those that are known, indices within their bounds, or small numbers."""
    kind = _numpy_type(tensor)
    if tensor.values is not None:
        return np.array(tensor.values).astype(kind).reshape(tensor.shape)
    draw = np.random.default_rng(position)
    if tensor.dtype == "float32":
        return (draw.random(tensor.shape, np.float32) + np.float32(0.5)) / np.float32(max(1, prod(tensor.shape[1:])))
    if np.issubdtype(kind, np.floating):
        return np.full(tensor.shape, 0.5, kind)
    first = operator.inputs[0]
    if operator.kind.rpartition(":")[2] in INDEXED and position and first:
        bound = first.shape[operator.attributes.get("axis", 0)]
        return draw.integers(0, bound, tensor.shape).astype(kind)
    return np.zeros(tensor.shape, kind)


def _numpy_type(tensor: OperatorTensor) -> Any:
    return helper.tensor_dtype_to_np_dtype(_onnx_type(tensor))


def _onnx_type(tensor: OperatorTensor) -> int:
    name = {"float32": "FLOAT", "float64": "DOUBLE"}.get(tensor.dtype, tensor.dtype.upper())
    return int(TensorProto.DataType.Value(name))
