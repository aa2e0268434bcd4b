"""What operations cost on a backend, by a formula whose parameters are learnt (``learning``).

One operation takes

    t = overhead_c + flops / (rate_c * u(m, half_m_c) * u(n, half_n_c) * u(k, half_k_c))
        + moved * traffic_c / bandwidth(moved) + weights * stream_c / reading(all weights)
        + written / mapping where that is more than 32 MiB,    u(x, h) = x / (x + h)

with parameters for each class c of operations. The second term is arithmetic whose rate falls for short rows, columns
and sums of the matrix product that the operation comes to (the form of R. W. Hockney's half-performance length,
n_1/2: "(r_inf, n_1/2, s_1/2) measurements on the 2-CPU CRAY X-MP", Parallel Computing 2, 1985). The others are memory
traffic, whose bandwidth is interpolated over the size, since caches of several levels hold it. A call takes an
overhead of its own besides. Memory of more than 32 MiB is asked of the system anew at each call, where a backend
allocates at each call, and given page by page (glibc's largest M_MMAP_THRESHOLD by itself, mallopt(3)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from almaflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

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
"""Classes with arithmetic to speak of. A product of a matrix and a vector has a kernel of its own in most libraries."""
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

_COSTLY = "silu gelu hardswish sigmoid hardsigmoid tanh exp erf mish softplus pow rsqrt sqrt"
TRANSCENDENTAL = frozenset(_COSTLY.split())
"""Elementwise operators that take more than an instruction, or that some compilers do not join."""
FIRST_CHANNELS = 4
"""Up to so many input channels, a convolution has a kernel of its own in most libraries."""

SIZE_KNOTS_MB = (0.1, 0.5, 2.0, 8.0, 32.0, 128.0)
"""Where bandwidths are learnt; between them, they are interpolated by logarithms."""
KNOTS = np.log(SIZE_KNOTS_MB)
MAPPED_MB = 32 * 1.048576


@dataclass(frozen=True)
class Operations:
    """The operations of several workloads as columns."""

    network: NDArray[np.intp]
    """Whose it is."""
    kind: NDArray[np.intp]
    """Index into ``CLASSES``."""
    gflop: Vector
    rows: Vector
    columns: Vector
    length: Vector
    moved_mb: Vector
    written_mb: Vector
    weights_mb: Vector
    all_weights_mb: Vector
    count: int
    """Of workloads."""


def operations(workloads: Sequence[Workload], *, joins: bool) -> Operations:
    """Columns of all operations.

    Args:
        workloads: Of float32.
        joins: Whether the backend computes elementwise operations with what made their input.
    """
    rows: list[tuple[float, ...]] = []
    for network, workload in enumerate(workloads):
        for each in workload.operations:
            kind = class_of(each, joins=joins)
            sizes = tuple(float(each.sizes.get(key, 0)) for key in ("m", "n", "k"))
            if kind == "attention":  # its first product, of queries and keys
                sizes = float(each.shape[-2]), float(each.shape[-2]), float(each.shape[-1])
            moved, weights = (each.read_bytes + each.written_bytes) / 1e6, each.weight_bytes / 1e6
            amounts = moved, each.written_bytes / 1e6, weights, workload.parameters_mb
            rows.append((network, _INDEX[kind], each.flops / 1e9, *sizes, *amounts))
    table = np.array(rows, dtype=np.float64).reshape(-1, 10)
    which = table[:, :2].astype(np.intp)
    gflop, lines, columns, length, moved_mb, written_mb, weights_mb, all_mb = table[:, 2:].T
    sizes_mb = moved_mb, written_mb, weights_mb, all_mb
    return Operations(which[:, 0], which[:, 1], gflop, lines, columns, length, *sizes_mb, count=len(workloads))


def class_of(operation: Operation, *, joins: bool) -> str:
    """Which of ``CLASSES`` an operation belongs to."""
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


class Parameters:
    """The parameters of the formula as one vector of logarithms."""

    FIELDS = ("overhead_us", "traffic")
    PRODUCT_FIELDS = ("gflops", "half_rows", "half_columns", "half_length", "stream")

    def __init__(self) -> None:
        """Lay them out."""
        self.names: list[str] = ["call_us", "mapping"]
        self.names += [f"bandwidth/{size:g}" for size in SIZE_KNOTS_MB]
        self.names += [f"reading/{size:g}" for size in SIZE_KNOTS_MB]
        self.names += [f"{kind}/{each}" for each in self.FIELDS for kind in CLASSES]
        self.names += [f"{kind}/{each}" for each in self.PRODUCT_FIELDS for kind in PRODUCTS]
        self.index = {name: index for index, name in enumerate(self.names)}

    def block(self, vector: Vector, first: str, count: int) -> Vector:
        """``count`` of them from ``first`` on, as they are."""
        start = self.index[first]
        return np.exp(vector[start : start + count])


LAYOUT = Parameters()


def vector_of(parameters: Mapping[str, float]) -> Vector:
    """The logarithms of parameters by their names, in the order of ``LAYOUT``.

    Raises:
        UsageError: one is missing: they were learnt by another version of the formula.
    """
    try:
        return np.log([parameters[name] for name in LAYOUT.names])
    except KeyError as error:
        message = "what was learnt on this machine is another almaflow's: run `almaflow calibrate` again"
        raise UsageError(message) from error


def parameters_of(vector: Vector) -> dict[str, float]:
    """The parameters by their names, rounded to what they are worth."""
    return {name: float(f"{value:.4g}") for name, value in zip(LAYOUT.names, np.exp(vector), strict=True)}


def times_ms(vector: Vector, columns: Operations) -> Vector:
    """Of each operation.

    Args:
        vector: Logarithms of the parameters, as ``LAYOUT`` names them.
        columns: The operations.
    """
    get = LAYOUT.block
    kinds = len(CLASSES)
    overhead = get(vector, f"{CLASSES[0]}/overhead_us", kinds)[columns.kind] / 1000
    traffic = get(vector, f"{CLASSES[0]}/traffic", kinds)[columns.kind]
    bandwidth = _at(vector, "bandwidth", columns.moved_mb)
    total = overhead + columns.moved_mb * traffic / bandwidth
    total += np.where(columns.written_mb > MAPPED_MB, columns.written_mb, 0.0) / get(vector, "mapping", 1)
    some = np.flatnonzero(columns.kind < len(PRODUCTS))
    kind = columns.kind[some]
    products = len(PRODUCTS)
    gflops, rows, cols, length, stream = (
        get(vector, f"{PRODUCTS[0]}/{each}", products)[kind] for each in Parameters.PRODUCT_FIELDS
    )
    slower = _slower(columns.rows[some], rows) * _slower(columns.columns[some], cols)
    slower *= _slower(columns.length[some], length)
    arithmetic = columns.gflop[some] / gflops * slower * 1000
    reading = _at(vector, "reading", columns.all_weights_mb[some])
    total[some] += arithmetic + columns.weights_mb[some] * stream / reading
    return total


def _slower(size: Vector, half: Vector) -> Vector:
    return 1 + half / np.maximum(size, 1.0)


def _at(vector: Vector, name: str, size_mb: Vector) -> Vector:
    """A bandwidth in GB/s (which is MB/ms) for data of these sizes."""
    start = LAYOUT.index[f"{name}/{SIZE_KNOTS_MB[0]:g}"]
    at = np.log(np.maximum(size_mb, 1e-6))
    found: Vector = np.exp(np.interp(at, KNOTS, vector[start : start + len(KNOTS)]))
    return found


def networks_ms(vector: Vector, columns: Operations) -> Vector:
    """Of each workload: the sum of its operations, and the overhead of the call."""
    made = np.bincount(columns.network, times_ms(vector, columns), minlength=columns.count)
    whole: Vector = made + np.exp(vector[LAYOUT.index["call_us"]]) / 1000
    return whole


def prior() -> tuple[Vector, Vector]:
    """What the parameters are believed to be before anything is measured: means and deviations of their logarithms."""
    beliefs = {
        "call_us": (20.0, 1.0),
        "mapping": (20.0, 1.5),
        "bandwidth": (20.0, 0.7),
        "reading": (20.0, 0.7),
        "overhead_us": (5.0, 1.0),
        "traffic": (1.0, 0.7),
        "gflops": (80.0, 0.7),
        "half_rows": (8.0, 1.5),
        "half_columns": (8.0, 1.5),
        "half_length": (8.0, 1.5),
        "stream": (1.0, 1.0),
        # What is joined takes little, and nothing where it is folded into weights.
        "joined/overhead_us": (0.5, 1.5),
        "joined/traffic": (0.2, 1.5),
    }
    found = [beliefs[_belief(name, beliefs)] for name in LAYOUT.names]
    means, deviations = zip(*found, strict=True)
    return np.log(means), np.array(deviations)


def _belief(name: str, beliefs: Collection[str]) -> str:
    first, _, last = name.partition("/")
    special = f"joined/{last}" if first.startswith("joined") else name
    return next(key for key in (special, first, last) if key in beliefs)
