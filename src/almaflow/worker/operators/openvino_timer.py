"""Times single operators of OpenVINO, each a compiled model of the piece that becomes the operator.

Tensors that lie channels last in the model do so here too: else OpenVINO would move them before and after each call.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
from openvino import opset13

from almaflow.worker.operators.cold_share import cache_of
from almaflow.worker.operators.floors import shortest_us
from almaflow.worker.operators.openvino_pieces import rebuilt, values_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from almaflow.records.operators import Operator, OperatorTensor

TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
EVICTING_MB = 64
"""The memory that is read and written between cold calls; larger than the last cache of most machines."""
SHORT, LONG = 20, 220
"""Lengths of the chains whose difference is the time of an operator that computes next to nothing."""
ROWS, WIDTH = 16, 768
"""Sizes of products whose weights take longer to load than to multiply."""
LENGTHS = (1, 2, 4, 6, 8, 12, 16, 24, 40)
"""Lengths of chains of products, with 2.4 MB of weights each."""

_SETTINGS: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}


def start(threads: int) -> None:
    """Set the threads of all models of this process; call it before the first model."""
    _SETTINGS["INFERENCE_NUM_THREADS"] = threads


@cache
def _core() -> openvino.Core:
    return openvino.Core()


def _request(model: openvino.Model, arrays: list[Any]) -> Any:
    request = _core().compile_model(model, "CPU", _SETTINGS).create_infer_request()
    for position, array in enumerate(arrays):
        request.set_input_tensor(position, openvino.Tensor(array))
    request.infer()
    return request


def chain_call(path: Path, example: torch.Tensor) -> Callable[[], object]:
    """Return a call of a whole model as a job makes it."""
    from almaflow.conversions.native.openvino import forward_of

    forward = forward_of(_core().compile_model(path, "CPU", _SETTINGS))
    return lambda: forward(example)


@dataclass
class TimedOperator:
    """One operator in a compiled model of its own, with its inputs in memory that stays."""

    operator: Operator
    _requested: Any = field(init=False)

    def __post_init__(self) -> None:
        given = [each for each in self.operator.inputs if each is not None and not each.constant]
        weights = [each for each in self.operator.inputs if each is not None and each.constant]
        described = [(each.dtype, _outer(each), each.values) for each in given]
        parameters = [opset13.parameter(list(shape), np.dtype(kind).type) for kind, shape, _ in described]
        inputs = [
            opset13.transpose(parameter, np.array(TO_FIRST)).output(0) if _is_last(each) else parameter.output(0)
            for parameter, each in zip(parameters, given, strict=True)
        ]
        constants = [
            opset13.constant(values_of((each.dtype, each.shape, each.values), position)).output(0)
            for position, each in enumerate(weights)
        ]
        operations = self.operator.attributes.get("operations")
        outputs = inputs
        if operations:
            last = rebuilt(operations, inputs, constants)
            outputs = [last.output(place) for place in self.operator.attributes["outputs"]]
        results = [
            opset13.transpose(output, np.array(TO_LAST)) if each and _is_last(each) else output
            for output, each in zip(outputs, self.operator.outputs, strict=True)
        ]
        arrays = [values_of(each, position) for position, each in enumerate(described)]
        self._requested = _request(openvino.Model(results, parameters, "operator"), arrays)

    def call_us(self) -> float:
        """Return the microseconds of one call."""
        started = perf_counter_ns()
        self._requested.infer()
        return (perf_counter_ns() - started) / 1000

    def cold_us(self) -> float:
        """Return the microseconds of one call whose weights are in no cache."""
        _evictor().infer()
        for tensor in (*self._requested.output_tensors, *self._requested.input_tensors):
            tensor.data[...] = 0.5  # as the operators before and after it leave them: in the caches
        return self.call_us()


def _is_last(tensor: OperatorTensor) -> bool:
    return tensor.layout == "channels_last" and len(tensor.shape) == len(TO_LAST)


def _outer(tensor: OperatorTensor) -> tuple[int, ...]:
    return tuple(tensor.shape[place] for place in TO_LAST) if _is_last(tensor) else tensor.shape


@cache
def _evictor() -> Any:
    size = EVICTING_MB * 1_000_000 // 8  # as much is written as is read
    parameter = opset13.parameter([size], np.float32)
    return _request(openvino.Model([opset13.relu(parameter)], [parameter], "evictor"), [np.ones(size, np.float32)])


@cache
def _smallest() -> tuple[float, float]:
    """Return the microseconds of a call without its operators, and of one more operator that computes next to nothing.

    A chain of two lengths tells them apart: a single operator takes a part of the overhead for itself.
    """
    short, long = (shortest_us(_softmaxes(length).infer) for length in (SHORT, LONG))
    node_us = max(0.0, (long - short) / (LONG - SHORT))
    return max(0.0, short - SHORT * node_us), node_us


def _softmaxes(length: int) -> Any:
    parameter = opset13.parameter([1, 8], np.float32)
    node: Any = parameter
    for _ in range(length):
        node = opset13.softmax(node, 1)
    return _request(openvino.Model([node], [parameter], "chain"), [np.ones((1, 8), np.float32)])


def overhead_us() -> float:
    """Return the time of a call that is no operator's."""
    return _smallest()[0]


def rest(threads: int) -> dict[str, float]:
    """Return the overhead of a call, and from how many MB on weights do not stay in the caches."""
    del threads  # set for all models
    return {"node_us": 0.0, "call_us": _call_us(), **_cache()}


def _call_us() -> float:
    """Return the overhead of a call as a job makes it, from a tensor to tensors."""
    import torch

    from almaflow.conversions.native.openvino import forward_of

    parameter = opset13.parameter([1, 8], np.float32)
    model = openvino.Model([opset13.softmax(parameter, 1)], [parameter], "call")
    forward = forward_of(_core().compile_model(model, "CPU", _SETTINGS))
    example = torch.ones(1, 8)
    return max(0.0, shortest_us(lambda: forward(example)) - _smallest()[1])


def _cache() -> dict[str, float]:
    one = _products(1)

    def cold() -> float:
        _evictor().infer()
        started = perf_counter_ns()
        one.infer()
        return (perf_counter_ns() - started) / 1000

    warm_us, cold_us = (shortest_us(each) - overhead_us() for each in (one.infer, cold))
    shares = {}
    for length in LENGTHS:
        each_us = (shortest_us(_products(length).infer) - overhead_us()) / length
        shares[4.0 * WIDTH**2 * length / 1e6] = (each_us - warm_us) / max(1e-3, cold_us - warm_us)
    return cache_of(shares)


def _products(length: int) -> Any:
    parameter = opset13.parameter([ROWS, WIDTH], np.float32)
    node: Any = parameter
    for number in range(length):
        weight = values_of(("float32", (WIDTH, WIDTH), None), number)
        node = opset13.matmul(node, opset13.constant(weight), False, False)  # noqa: FBT003 - OpenVINO's own order
    return _request(openvino.Model([node], [parameter], "chain"), [np.ones((ROWS, WIDTH), np.float32)])
