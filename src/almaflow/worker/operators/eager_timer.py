"""Times single operators of eager PyTorch on the CPU, from a table's descriptions of their calls."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from time import perf_counter_ns
from typing import TYPE_CHECKING

import torch

from almaflow.worker.allocator import keep_memory
from almaflow.worker.operators.aten_calls import AtenCall

if TYPE_CHECKING:
    from almaflow.records.operators import Operator

POOL_BYTES = 64 * 2**20
"""The memory that weights are taken from in turn; larger than the last cache of most machines."""
COLD_BYTES = math.inf
"""No operator is timed cold: the weights of each call come from memory, and all else is as warm as it is in a model."""


def start(threads: int) -> None:
    """Bring the process into the state of a worker of a job; call it before the first computation."""
    keep_memory()
    torch.set_num_threads(threads)
    # Operators in place come upon ever smaller numbers, and denormal ones would slow them.
    torch.set_flush_denormal(True)
    torch.set_grad_enabled(False)


@dataclass
class TimedOperator:
    """One operator, with its activations in memory that stays, and each call's weights in other memory."""

    operator: Operator
    _call: AtenCall = field(init=False)
    _next: int = 0

    def __post_init__(self) -> None:
        self._call = AtenCall(self.operator, _pool())

    def call_us(self) -> float:
        """Return the microseconds of one call, its inputs just written and its weights not read for a while."""
        call = self._call
        args, kwargs = call.sets[self._next % len(call.sets)]
        self._next += 1
        call.touch()
        started = perf_counter_ns()
        call.function(*args, **kwargs)
        return (perf_counter_ns() - started) / 1000

    cold_us = call_us


def overhead_us() -> float:
    """Return the part of ``call_us`` that no operator of a model has: Python's way to an operator is the same there."""
    return 0.0


def rest(threads: int) -> dict[str, float]:
    """Return what a call takes beside its operators."""
    from almaflow.worker.operators import eager_rest

    return eager_rest.rest(threads)


@cache
def _pool() -> torch.Tensor:
    return torch.rand(POOL_BYTES // 4).add_(0.1)
