"""What a call of ONNX Runtime takes beside its operators, from chains of operators whose own times are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper

from almaflow.conversions.built.onnx_sessions import feed, input_names
from almaflow.records.operators import Operator, OperatorTensor
from almaflow.worker.operators.cold_share import cache_of
from almaflow.worker.operators.floors import shortest_us
from almaflow.worker.operators.onnx_timer import OPSET, TimedOperator, model_of_nodes, overhead_us, session_of

if TYPE_CHECKING:
    from collections.abc import Callable

SHORT, LONG = 20, 220
"""Lengths of the chains whose difference is the time of a node that computes nothing."""
ROWS, WIDTH = 16, 768
"""Sizes of products whose weights take longer to load than to multiply."""
LENGTHS = (1, 2, 4, 6, 8, 12, 16, 24, 40)
"""Lengths of chains of products, with 2.4 MB of weights each."""


def rest(threads: int) -> dict[str, float]:
    """Return the overheads of a call and of a node, and from how many MB on weights do not stay in the caches."""
    del threads  # the pool has them already
    short, long = (shortest_us(_call([("Relu", None)] * length, (1,))) for length in (SHORT, LONG))
    node_us = max(0.0, (long - short) / (LONG - SHORT))
    return {
        "node_us": node_us,
        "call_us": max(0.0, short - SHORT * node_us),
        **_cache(node_us),
    }


def _cache(node_us: float) -> dict[str, float]:
    weight = OperatorTensor("float32", (WIDTH, WIDTH), constant=True, bytes=4.0 * WIDTH**2)
    rows = OperatorTensor("float32", (ROWS, WIDTH), bytes=4.0 * ROWS * WIDTH)
    timed = TimedOperator(Operator("", "MatMul", {"opset": OPSET}, (rows, weight), (rows,)))
    warm_us, cold_us = (shortest_us(each) - overhead_us() for each in (timed.call_us, timed.cold_us))
    shares = {}
    for length in LENGTHS:
        one_us = shortest_us(_call([("MatMul", (WIDTH, WIDTH))] * length, (ROWS, WIDTH))) / length - node_us
        shares[weight.bytes * length / 1e6] = (one_us - warm_us) / max(1e-3, cold_us - warm_us)
    return cache_of(shares)


def _call(chain: list[tuple[str, tuple[int, ...] | None]], shape: tuple[int, ...]) -> Callable[[], Any]:
    """Return a call of a chain of nodes as a job makes it, from a tensor to arrays."""
    (first,) = input_names(1)
    names = [first, *(f"out{number}" for number in range(len(chain)))]
    constants, nodes = [], []
    for number, (kind, weight) in enumerate(chain):
        inputs = [names[number]]
        if weight:
            inputs.append(f"weight{number}")
            draw = np.random.default_rng(number)
            values = (draw.random(weight, np.float32) - np.float32(0.5)) / np.float32(weight[0] ** 0.5)
            constants.append(numpy_helper.from_array(values, inputs[-1]))
        nodes.append(helper.make_node(kind, inputs, [names[number + 1]]))
    given, result = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in (first, names[-1]))
    session = session_of(model_of_nodes(nodes, [given], [result], constants))
    forward, example = feed(session), torch.ones(shape)
    return lambda: forward(example)
