"""The operations of workloads as columns, by classes of similar cost (see ``costs``). Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from almaflow.records import Operation, Workload

    Vector = NDArray[np.float64]

PRODUCTS = (
    "conv",
    "conv_first",
    "conv_pointwise",
    "conv_depthwise",
    "conv_grouped",
    "linear",
    "linear_vector",
    "product",
    "attention",
)
"""Classes with much arithmetic. A product of a matrix and a vector has a kernel of its own in most libraries."""
OTHERS = (
    "elementwise",
    "transcendental",
    "batch_norm",
    "layer_norm",
    "softmax",
    "pool",
    "reduction",
    "copy",
    "gather",
    "joined",
    "joined_transcendental",
    "joined_norm",
)
CLASSES = (*PRODUCTS, *OTHERS)
_INDEX = {name: index for index, name in enumerate(CLASSES)}
FIRST_JOINED = _INDEX["joined"]
"""Index of the first class of operations that a compiler computes together with the one before."""

_COSTLY = "silu gelu hardswish sigmoid hardsigmoid tanh exp erf mish softplus pow rsqrt sqrt"
TRANSCENDENTAL = frozenset(_COSTLY.split())
"""Elementwise operators that take more than an instruction, or that some compilers do not join."""
FIRST_CHANNELS = 4
"""Most input channels with which a convolution has a kernel of its own in most libraries."""


@dataclass(frozen=True)
class Operations:
    """The operations of several workloads as columns."""

    network: NDArray[np.intp]
    """Index of the workload that the operation belongs to."""
    kind: NDArray[np.intp]
    """Index into ``CLASSES``."""
    gflop: Vector
    rows: Vector
    columns: Vector
    length: Vector
    moved_mb: Vector
    new_mb: Vector
    """Megabytes that are written to newly allocated memory."""
    weights_mb: Vector
    all_weights_mb: Vector
    count: int
    """The number of workloads."""
    device: str
    """``cpu`` or ``cuda``."""


def operations(workloads: Sequence[Workload], device: str = "cpu", *, joins: bool) -> Operations:
    """Return the columns of all operations.

    Args:
        workloads: Workloads that were counted in float32.
        device: The device that computes them, ``cpu`` or ``cuda``.
        joins: Whether the backend computes elementwise operations together with the ones before.
    """
    rows: list[tuple[float, ...]] = []
    for network, workload in enumerate(workloads):
        for each in workload.operations:
            kind = class_of(each, joins=joins)
            if kind == "linear_vector" and device == "cuda":  # calibrated there with batches of 16 or more
                kind = "linear"
            sizes = tuple(float(each.sizes.get(key, 0)) for key in ("m", "n", "k"))
            if kind == "attention":  # its first product, of queries and keys
                sizes = float(each.shape[-2]), float(each.shape[-2]), float(each.shape[-1])
            read = each.read_bytes
            if kind == "pool" and "kernel" in each.sizes:  # windows overlap, or leave something out
                read = 4.0 * math.prod(each.shape) * each.sizes["kernel"]
            moved, weights = (read + each.written_bytes) / 1e6, each.weight_bytes / 1e6
            new = 0.0 if each.name.endswith("_") else each.written_bytes / 1e6  # relu_ writes where it read
            amounts = moved, new, weights, workload.parameters_mb
            rows.append((network, _INDEX[kind], each.flops / 1e9, *sizes, *amounts))
    table = np.array(rows, dtype=np.float64).reshape(-1, 10)
    which = table[:, :2].astype(np.intp)
    gflop, lines, columns, length, moved_mb, new_mb, weights_mb, all_mb = table[:, 2:].T
    sizes_mb = moved_mb, new_mb, weights_mb, all_mb
    return Operations(which[:, 0], which[:, 1], gflop, lines, columns, length, *sizes_mb, len(workloads), device)


def class_of(operation: Operation, *, joins: bool) -> str:
    """Return the one of ``CLASSES`` that an operation belongs to."""
    kind, name = operation.kind, operation.name.rstrip("_")
    if kind == "elementwise":
        costly = name in TRANSCENDENTAL
        if joins and operation.fusible:
            return "joined_transcendental" if costly else "joined"
        return "transcendental" if costly else "elementwise"
    if kind == "batch_norm" and joins and operation.fusible:
        return "joined_norm"
    if kind == "matmul":
        with_weights = "linear" if operation.sizes["m"] > 1 else "linear_vector"
        return with_weights if operation.weight_bytes else "product"
    if kind == "conv":
        window = operation.sizes.get("kernel", 1)
        return "conv_first" if operation.sizes["k"] <= FIRST_CHANNELS * window else "conv"
    return kind
