"""The roofline: each operation takes as long as its arithmetic or its memory traffic, whichever is longer.

After S. Williams, A. Waterman, D. Patterson: Roofline: an insightful visual performance model for multicore
architectures, Communications of the ACM 52(4), 2009. Here it is applied to each operation, with the bandwidth of the
memory level that its data fit into, and the overhead that every operation has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from almaflow.records import Prediction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from almaflow.records import Level, Limits, Operation, PlannedConversion, PredictionRequest

MEGA, GIGA = 1e6, 1e9
BYTES = {"float64": 8.0, "float32": 4.0, "float16": 2.0, "bfloat16": 2.0, "int8": 1.0, "float8": 1.0, "int4": 0.5}
FLOATING = frozenset({"float64", "float32", "float16", "bfloat16"})


@dataclass(frozen=True)
class Cost:
    """The parts of one operation's time, in milliseconds."""

    operation: Operation
    arithmetic_ms: float
    memory_ms: float
    overhead_ms: float

    @property
    def total_ms(self) -> float:
        """Arithmetic or memory traffic, whichever takes longer since they overlap, and the overhead."""
        return max(self.arithmetic_ms, self.memory_ms) + self.overhead_ms


@dataclass(frozen=True)
class Roofline:
    """Predicts from the hardware's limits (``hardware.limits``) and nothing else: a bound that kernels seldom reach."""

    name: str = "roofline"
    version: str = "2"

    def predict(self, question: PredictionRequest) -> Prediction | None:
        """Return the sum over the operations; None where the hardware's limits or the operations are not known."""
        costs = list(self.costs(question))
        if not costs:
            return None
        latency_ms = sum(cost.total_ms for cost in costs)
        limits = question.hardware.limits
        energy = limits.power_w * latency_ms / 1000 if limits and limits.power_w else None
        return Prediction(latency_ms, self.name, self.version, energy_j=energy)

    def costs(self, question: PredictionRequest) -> Iterator[Cost]:
        """Yield the cost of each operation that is not joined to another; none without limits or operations."""
        limits, workload, conversion = question.hardware.limits, question.workload, question.conversion
        if limits is None or workload is None or not limits.gflops or not limits.bandwidth:
            return
        joins = joins_operations(conversion)
        weights = level_of(limits, workload.parameters_mb * BYTES.get(conversion.dtype, 4.0) / BYTES["float32"])
        for operation in workload.operations:
            if joins and operation.fusible:
                continue
            yield cost_of(operation, conversion, limits, weights)


def joins_operations(conversion: PlannedConversion) -> bool:
    """Return whether the conversion computes elementwise operations together with the ones before."""
    return conversion.traits.fuses_elementwise


def level_of(limits: Limits, size_mb: float) -> Level:
    """Return the smallest level of memory that the data fit into."""
    return next((level for level in limits.bandwidth if level.mb is None or size_mb <= level.mb), limits.bandwidth[-1])


def peak_gflops(limits: Limits, dtype: str, kind: str = "") -> float:
    """Return the rate of an element type; that of float32 where the hardware has no other and computes in float32.

    Args:
        limits: The limits, with at least one rate.
        dtype: The element type.
        kind: The operation's class: convolutions may have rates of their own.
    """
    if kind.startswith("conv") and (rate := limits.conv_gflops.get(dtype)):
        return rate
    return limits.gflops.get(dtype) or limits.gflops.get("float32") or max(limits.gflops.values())


def cost_of(operation: Operation, conversion: PlannedConversion, limits: Limits, weights: Level) -> Cost:
    """Return the time of one operation.

    Args:
        operation: The operation as counted on the float32 model.
        conversion: The conversion, whose element type floating data have.
        limits: The hardware's limits, with at least one rate and one level.
        weights: The memory level that all weights together fit into: between two calls the others push them out.
    """
    narrower = BYTES.get(conversion.dtype, 4.0) / BYTES.get(operation.dtype, 4.0)
    scale = narrower if operation.dtype in FLOATING else 1.0
    moved = (operation.read_bytes + operation.written_bytes) * scale
    level = level_of(limits, moved / MEGA)
    memory_s = moved / (level.gb_s * GIGA) + operation.weight_bytes * scale / (weights.gb_s * GIGA)
    arithmetic_s = operation.flops / (peak_gflops(limits, conversion.dtype, operation.kind) * GIGA)
    return Cost(operation, arithmetic_s * 1000, memory_s * 1000, (limits.overhead_us or 0.0) / 1000)
