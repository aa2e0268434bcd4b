"""The predictor that repeats the caller's own numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from almaflow.conversions.catalogue.names import resolve
from almaflow.errors import UsageError
from almaflow.records import Prediction

if TYPE_CHECKING:
    from almaflow.predict.given_table import Row
    from almaflow.records import PredictionRequest


@dataclass(frozen=True)
class Given:
    """Latencies that the caller predicted by other means.

    Args:
        latency_ms: predicted wall time of one forward call on one batch, in milliseconds.
        energy_j: predicted energy of that call, in joules per batch.
        conversion: the only conversion that these two are meant for, by name, alias or number; by default all.
        path: a CSV or JSON file of predictions by model, hardware, conversion and batch size, which is asked where
            there is no ``latency_ms``. Of several entries that fit, the one with the most keys answers; of equal ones,
            the first.
        version: the version of whatever made the numbers; by default ``1``, or a hash of the file.

    Raises:
        UsageError: a number is not a positive finite one, or the file cannot be read.
    """

    latency_ms: float | None = None
    energy_j: float | None = None
    conversion: str | None = None
    path: str | None = None
    version: str = ""
    name: str = "given"
    rows: tuple[Row, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        for key, value in (("predicted_latency_ms", self.latency_ms), ("predicted_energy_j", self.energy_j)):
            if value is not None and not (math.isfinite(value) and value > 0):
                message = f"{key} must be a positive number, not {value}"
                raise UsageError(message)
        version = "1"
        if self.path is not None and self.latency_ms is None:
            from almaflow.predict.given_table import read_table

            rows, version = read_table(self.path)
            object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "version", self.version or version)
        if self.conversion is not None:
            object.__setattr__(self, "conversion", _named(self.conversion))

    def predict(self, question: PredictionRequest) -> Prediction | None:
        if self.latency_ms is not None:
            if self.conversion not in {None, question.conversion.name}:
                return None
            return Prediction(self.latency_ms, self.name, self.version, energy_j=self.energy_j)
        fitting = [row for row in self.rows if row.fits(question)]
        if not fitting:
            return None
        row = max(fitting, key=lambda row: row.keys)  # the first of equal ones
        return Prediction(row.latency_ms, self.name, self.version, row.energy_j, row.low_ms, row.high_ms)


def _named(conversion: str) -> str:
    try:
        ((_, entry),) = resolve([conversion])
    except UsageError as error:
        message = f"predicted_for={conversion}: {str(error).partition(': ')[2]}"
        raise UsageError(message) from error
    return entry.name
