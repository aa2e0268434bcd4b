"""The predictor that repeats the caller's own number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from almaflow.errors import UsageError
from almaflow.records import Prediction

if TYPE_CHECKING:
    from almaflow.records import HardwareSpec, ModelSpec, PlannedConversion


@dataclass(frozen=True)
class Given:
    """A latency that the caller predicted by other means, held against every conversion.

    Args:
        latency_ms: predicted wall time of one forward call on one batch, in milliseconds.
        energy_j: predicted energy of that call, in joules per batch.
        version: the version of whatever made the number.

    Raises:
        UsageError: a number is not a positive finite one.
    """

    latency_ms: float
    energy_j: float | None = None
    version: str = "1"
    name: str = "given"

    def __post_init__(self) -> None:
        """Refuse what cannot be a latency or an energy."""
        for field, value in (("predicted_latency_ms", self.latency_ms), ("predicted_energy_j", self.energy_j)):
            if value is not None and not (math.isfinite(value) and value > 0):
                message = f"{field} must be a positive number, not {value}"
                raise UsageError(message)

    def predict(
        self,
        job_model: ModelSpec,  # noqa: ARG002 - the caller's number does not depend on what is asked
        hardware: HardwareSpec,  # noqa: ARG002 - the caller's number does not depend on what is asked
        conversion: PlannedConversion,  # noqa: ARG002 - the caller's number does not depend on what is asked
        batch_size: int,  # noqa: ARG002 - the caller's number does not depend on what is asked
    ) -> Prediction:
        """Give the caller's number, whatever the conversion."""
        return Prediction(self.latency_ms, predictor=self.name, version=self.version, energy_j=self.energy_j)
