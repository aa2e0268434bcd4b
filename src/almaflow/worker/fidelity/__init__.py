"""Compares a conversion's outputs with eager's on the same inputs."""

from almaflow.worker.fidelity.comparison import compare
from almaflow.worker.fidelity.draws import compare_random
from almaflow.worker.fidelity.tolerances import (
    IDENTICAL_DB,
    LEAST_CORRELATION,
    LEAST_CORRELATION_OTHER,
    LEAST_EQUAL,
    LEAST_EQUAL_OTHER,
    TF32,
    TOLERANCE_DB,
    TOLERANCE_OTHER_DB,
    Tolerance,
    arithmetic,
    coarser,
    tolerance_of,
)

__all__ = [
    "IDENTICAL_DB",
    "LEAST_CORRELATION",
    "LEAST_CORRELATION_OTHER",
    "LEAST_EQUAL",
    "LEAST_EQUAL_OTHER",
    "TF32",
    "TOLERANCE_DB",
    "TOLERANCE_OTHER_DB",
    "Tolerance",
    "arithmetic",
    "coarser",
    "compare",
    "compare_random",
    "tolerance_of",
]
