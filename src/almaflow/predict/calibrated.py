"""almaflow's own predictor: what operations cost on a backend, learnt from small networks that were timed there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from almaflow.predict.roofline import joins_operations
from almaflow.records import Prediction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from almaflow.records import CostModel, Operation, PredictionRequest


@dataclass(frozen=True)
class Share:
    """The share of one operation in the time of a call."""

    operation: Operation
    total_ms: float


@dataclass(frozen=True)
class Calibrated:
    """Adds up operations' costs that ``almaflow calibrate`` learnt: it predicts the floor, which repeats over days."""

    source: str = "kernels"
    """``kernels``: costs learnt from small networks alone; ``history``: from the store's measurements too."""
    name: str = "calibrated"
    version: str = "1"
    """The method's version; a prediction has the version of the learned costs."""

    def predict(self, question: PredictionRequest) -> Prediction | None:
        """Return None where the hardware was not calibrated for the conversion, or the operations are not known."""
        shares = self.costs(question)
        learnt = self._backend(question)
        if learnt is None:
            return None
        backend, version = learnt
        latency_ms = sum(share.total_ms for share in shares) + backend.whole * backend.parameters["call_us"] / 1000
        low, high = latency_ms * backend.low, latency_ms * backend.high
        return Prediction(latency_ms, self.name, version, low_ms=low, high_ms=high, control_ms=backend.control_ms)

    def costs(self, question: PredictionRequest) -> Iterator[Share]:
        """Yield the share of each operation; none where no costs were learnt."""
        learnt = self._backend(question)
        if learnt is None or question.workload is None:
            return
        from almaflow.predict import costs
        from almaflow.predict.operation_table import operations

        backend, workload, device = learnt[0], question.workload, question.conversion.device
        columns = operations([workload], device, joins=joins_operations(question.conversion))
        times = backend.whole * costs.times_ms(costs.vector_of(backend.parameters, device), columns)
        for operation, time_ms in zip(workload.operations, times, strict=True):
            yield Share(operation, float(time_ms))

    def _backend(self, question: PredictionRequest) -> tuple[CostModel, str] | None:
        learnt = question.learnt.get(self.source)
        if learnt is None or question.workload is None or question.conversion.name not in learnt.backends:
            return None
        return learnt.backends[question.conversion.name], learnt.version
