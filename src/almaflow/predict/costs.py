"""The cost of operations on a backend, by a formula whose parameters ``calibration.fit`` learns.

One operation takes

    t = overhead_c + flops / (rate_c * u(m, half_m_c) * u(n, half_n_c) * u(k, half_k_c))
        + moved * traffic_c / bandwidth(moved) + weights * stream_c / reading(all weights)
        + new / mapping where that is more than 32 MiB,    u(x, h) = x / (x + h)

with parameters for each class c of operations. The second term is arithmetic whose rate falls for short rows, columns
and sums of the matrix product that the operation comes to (the form of R. W. Hockney's half-performance length,
n_1/2: "(r_inf, n_1/2, s_1/2) measurements on the 2-CPU CRAY X-MP", Parallel Computing 2, 1985). The others are memory
traffic, whose bandwidth is interpolated over the size, since caches of several levels hold it. A call takes an
overhead of its own besides. Memory of more than 32 MiB is asked of the system anew at each call, where a backend
allocates at each call, and given page by page (glibc's largest M_MMAP_THRESHOLD by itself, mallopt(3)).

A GPU computes one operation while the host launches the next ones. The overheads are then what the host takes, and
all else, with what a kernel takes however little it does, is what the device takes; a call takes the longer of both
sums, or somewhat more where they are alike, since here and there one waits for the other: (host^p + device^p)^(1/p).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from almaflow.errors import UsageError
from almaflow.predict.operation_table import CLASSES, FIRST_JOINED, PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from almaflow.predict.operation_table import Operations, Vector

DEVICES = ("cpu", "cuda")
OVERLAP = 4.0
"""The p that joins host and device: where both take the same time, a call takes 1.19 times as long."""
SIZE_KNOTS_MB = (0.1, 0.5, 2.0, 8.0, 32.0, 128.0)
"""The sizes at which bandwidths are learnt; between them, they are interpolated by logarithms."""
KNOTS = np.log(SIZE_KNOTS_MB)
MAPPED_MB = 32 * 1.048576


class Parameters:
    """The parameters of the formula as one vector of logarithms."""

    FIELDS = ("overhead_us", "traffic")
    PRODUCT_FIELDS = ("gflops", "half_rows", "half_columns", "half_length", "stream")

    def __init__(self, device: str) -> None:
        # Each device has the same order, so that one index serves both.
        self.names: list[str] = ["call_us", "kernel_us" if device == "cuda" else "mapping"]
        self.names += [f"bandwidth/{size:g}" for size in SIZE_KNOTS_MB]
        self.names += [f"reading/{size:g}" for size in SIZE_KNOTS_MB]
        self.names += [f"{kind}/{each}" for each in self.FIELDS for kind in CLASSES]
        self.names += [f"{kind}/{each}" for each in self.PRODUCT_FIELDS for kind in PRODUCTS]
        self.index = {name: index for index, name in enumerate(self.names)}

    def block(self, vector: Vector, first: str, count: int) -> Vector:
        """Return ``count`` parameters from ``first`` on, as values instead of logarithms."""
        start = self.index[first]
        return np.exp(vector[start : start + count])


LAYOUTS = {device: Parameters(device) for device in DEVICES}
LAYOUT = LAYOUTS["cpu"]
SECOND = 1
"""Index of the parameter that only one device has."""


def vector_of(parameters: Mapping[str, float], device: str = "cpu") -> Vector:
    """Return the logarithms of parameters, in the order of their layout.

    Raises:
        UsageError: one is missing, since another version of the formula learnt them.
    """
    try:
        return np.log([parameters[name] for name in LAYOUTS[device].names])
    except KeyError as error:
        message = "another version of almaflow calibrated this machine: run `almaflow calibrate` again"
        raise UsageError(message) from error


def parameters_of(vector: Vector, device: str = "cpu") -> dict[str, float]:
    """Return the parameters by their names, rounded to four digits."""
    return {name: float(f"{value:.4g}") for name, value in zip(LAYOUTS[device].names, np.exp(vector), strict=True)}


def times_ms(vector: Vector, columns: Operations) -> Vector:
    """Return the time of each operation; on a GPU, its share in the time of host and device together.

    Args:
        vector: Logarithms of the parameters, as ``LAYOUTS`` has them.
        columns: The operations.
    """
    host, device = _overheads_ms(vector, columns), _work_ms(vector, columns)
    if columns.device == "cpu":
        return host + device
    of_host, of_device = (np.bincount(columns.network, each)[columns.network] for each in (host, device))
    both = (of_host**OVERLAP + of_device**OVERLAP) ** (1 / OVERLAP)
    # By Euler's theorem on homogeneous functions, these shares add up to the norm.
    shares: Vector = host * (of_host / both) ** (OVERLAP - 1) + device * (of_device / both) ** (OVERLAP - 1)
    return shares


def _overheads_ms(vector: Vector, columns: Operations) -> Vector:
    overheads: Vector = LAYOUT.block(vector, f"{CLASSES[0]}/overhead_us", len(CLASSES))[columns.kind] / 1000
    return overheads


def _work_ms(vector: Vector, columns: Operations) -> Vector:
    """Return the time that each operation computes and moves memory."""
    get = LAYOUT.block
    traffic = get(vector, f"{CLASSES[0]}/traffic", len(CLASSES))[columns.kind]
    total = columns.moved_mb * traffic / _at(vector, "bandwidth", columns.moved_mb)
    if columns.device == "cuda":
        total += np.where(columns.kind < FIRST_JOINED, np.exp(vector[SECOND]) / 1000, 0.0)
    else:
        total += np.where(columns.new_mb > MAPPED_MB, columns.new_mb, 0.0) / np.exp(vector[SECOND])
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
    """Return a bandwidth in GB/s (which is MB/ms) for data of these sizes."""
    start = LAYOUT.index[f"{name}/{SIZE_KNOTS_MB[0]:g}"]
    at = np.log(np.maximum(size_mb, 1e-6))
    bandwidth: Vector = np.exp(np.interp(at, KNOTS, vector[start : start + len(KNOTS)]))
    return bandwidth


def networks_ms(vector: Vector, columns: Operations) -> Vector:
    """Return the time of each workload: the sum of its operations, and the overhead of the call."""
    operations_ms = np.bincount(columns.network, times_ms(vector, columns), minlength=columns.count)
    calls_ms: Vector = operations_ms + np.exp(vector[0]) / 1000
    return calls_ms


def prior(device: str = "cpu") -> tuple[Vector, Vector]:
    """Return the means and deviations of the parameters' logarithms that are assumed before anything is measured."""
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
        # A joined operation takes little, and nothing where it is folded into weights.
        "joined/overhead_us": (0.5, 1.5),
        "joined/traffic": (0.2, 1.5),
    }
    if device == "cuda":  # from a small board to the largest GPU of a data centre
        beliefs |= {
            "kernel_us": (3.0, 1.0),
            "bandwidth": (1000.0, 1.5),
            "reading": (1000.0, 1.5),
            "overhead_us": (8.0, 1.0),
            "gflops": (20000.0, 1.5),
            "half_rows": (64.0, 2.0),
            "half_columns": (64.0, 2.0),
            "half_length": (64.0, 2.0),
        }
    means, deviations = zip(*(beliefs[_belief(name, beliefs)] for name in LAYOUTS[device].names), strict=True)
    return np.log(means), np.array(deviations)


def _belief(name: str, beliefs: Collection[str]) -> str:
    first, _, last = name.partition("/")
    special = f"joined/{last}" if first.startswith("joined") else name
    return next(key for key in (special, first, last) if key in beliefs)
