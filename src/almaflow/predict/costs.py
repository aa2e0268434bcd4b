"""What operations cost on a backend, by a formula whose parameters are learnt (``learning``).

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
"""The p by which host and device come together: alike, they take 1.19 times what one of them does."""
SIZE_KNOTS_MB = (0.1, 0.5, 2.0, 8.0, 32.0, 128.0)
"""Where bandwidths are learnt; between them, they are interpolated by logarithms."""
KNOTS = np.log(SIZE_KNOTS_MB)
MAPPED_MB = 32 * 1.048576


class Parameters:
    """The parameters of the formula as one vector of logarithms."""

    FIELDS = ("overhead_us", "traffic")
    PRODUCT_FIELDS = ("gflops", "half_rows", "half_columns", "half_length", "stream")

    def __init__(self, device: str) -> None:
        """Lay them out, in the same places for each device."""
        self.names: list[str] = ["call_us", "kernel_us" if device == "cuda" else "mapping"]
        self.names += [f"bandwidth/{size:g}" for size in SIZE_KNOTS_MB]
        self.names += [f"reading/{size:g}" for size in SIZE_KNOTS_MB]
        self.names += [f"{kind}/{each}" for each in self.FIELDS for kind in CLASSES]
        self.names += [f"{kind}/{each}" for each in self.PRODUCT_FIELDS for kind in PRODUCTS]
        self.index = {name: index for index, name in enumerate(self.names)}

    def block(self, vector: Vector, first: str, count: int) -> Vector:
        """``count`` of them from ``first`` on, as they are."""
        start = self.index[first]
        return np.exp(vector[start : start + count])


LAYOUTS = {device: Parameters(device) for device in DEVICES}
LAYOUT = LAYOUTS["cpu"]
SECOND = 1
"""Where the parameter is that only one device has."""


def vector_of(parameters: Mapping[str, float], device: str = "cpu") -> Vector:
    """The logarithms of parameters by their names, in the order of their layout.

    Raises:
        UsageError: one is missing: they were learnt by another version of the formula.
    """
    try:
        return np.log([parameters[name] for name in LAYOUTS[device].names])
    except KeyError as error:
        message = "what was learnt on this machine is another almaflow's: run `almaflow calibrate` again"
        raise UsageError(message) from error


def parameters_of(vector: Vector, device: str = "cpu") -> dict[str, float]:
    """The parameters by their names, rounded to what they are worth."""
    return {name: float(f"{value:.4g}") for name, value in zip(LAYOUTS[device].names, np.exp(vector), strict=True)}


def times_ms(vector: Vector, columns: Operations) -> Vector:
    """Of each operation; on a GPU, its share in what host and device take together.

    Args:
        vector: Logarithms of the parameters, as ``LAYOUTS`` has them.
        columns: The operations.
    """
    host, device = _overheads_ms(vector, columns), _work_ms(vector, columns)
    if columns.device == "cpu":
        return host + device
    of_host, of_device = (np.bincount(columns.network, each)[columns.network] for each in (host, device))
    both = (of_host**OVERLAP + of_device**OVERLAP) ** (1 / OVERLAP)
    # By Euler's theorem on homogeneous functions: what each adds to the norm adds up to it.
    shares: Vector = host * (of_host / both) ** (OVERLAP - 1) + device * (of_device / both) ** (OVERLAP - 1)
    return shares


def _overheads_ms(vector: Vector, columns: Operations) -> Vector:
    found: Vector = LAYOUT.block(vector, f"{CLASSES[0]}/overhead_us", len(CLASSES))[columns.kind] / 1000
    return found


def _work_ms(vector: Vector, columns: Operations) -> Vector:
    """What operations compute and move."""
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
    """A bandwidth in GB/s (which is MB/ms) for data of these sizes."""
    start = LAYOUT.index[f"{name}/{SIZE_KNOTS_MB[0]:g}"]
    at = np.log(np.maximum(size_mb, 1e-6))
    found: Vector = np.exp(np.interp(at, KNOTS, vector[start : start + len(KNOTS)]))
    return found


def networks_ms(vector: Vector, columns: Operations) -> Vector:
    """Of each workload: the sum of its operations, and the overhead of the call."""
    made = np.bincount(columns.network, times_ms(vector, columns), minlength=columns.count)
    whole: Vector = made + np.exp(vector[0]) / 1000
    return whole


def prior(device: str = "cpu") -> tuple[Vector, Vector]:
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
    found = [beliefs[_belief(name, beliefs)] for name in LAYOUTS[device].names]
    means, deviations = zip(*found, strict=True)
    return np.log(means), np.array(deviations)


def _belief(name: str, beliefs: Collection[str]) -> str:
    first, _, last = name.partition("/")
    special = f"joined/{last}" if first.startswith("joined") else name
    return next(key for key in (special, first, last) if key in beliefs)
