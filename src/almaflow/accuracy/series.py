"""A series of prediction errors over time: its key, points, changes and verdict."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from almaflow.records.specs import family_of

if TYPE_CHECKING:
    from almaflow.accuracy.causes import Cause
    from almaflow.records import RecordedPrediction, ScoredRun
    from almaflow.stats import ErrorSummary, Figure, Interval


class Verdict(StrEnum):
    """The verdict on a series since its last change."""

    SHORT = "too few points"
    NOISE = "within noise"
    NEAR = "within 10%"
    SCATTERED = "scattered"
    HIGH = "too high"
    LOW = "too low"


class Key(NamedTuple):
    """The fields that have to be equal for errors to be points of one series."""

    model: str
    hardware: str
    conversion: str
    batch_size: int
    predictor: str
    dtype: str
    threads: str
    device: str
    input_shape: str
    machine: str
    calls: str
    model_digest: str = ""
    """Tells versions of a model of the user's own apart."""

    @property
    def model_version(self) -> str:
        """The model with its digest, if it has one: ``net@3f2a91c0``."""
        return f"{self.model}@{self.model_digest}" if self.model_digest else self.model

    @property
    def family(self) -> str:
        """The model's family."""
        return family_of(self.model)

    def __str__(self) -> str:
        """One line with the fields by which people tell series apart."""
        return f"{self.model_version} b{self.batch_size} {self.conversion} on {self.hardware} by {self.predictor}"


@dataclass(frozen=True)
class Point:
    """One prediction held against one measurement; errors in percent."""

    run: ScoredRun
    said: RecordedPrediction
    measured_ms: float
    error: float
    bounds: Interval | None
    """The error against the ends of the measurement's own interval; None where it has none."""
    within_noise: bool | None
    """Whether prediction and measurement, with their intervals, may be the same; None where neither has one."""


@dataclass(frozen=True)
class Change:
    """A step in the error of a series."""

    at: int
    """Index of the first point behind it."""
    before_pct: float
    after_pct: float
    p_value: float
    cause: Cause

    @property
    def worse(self) -> bool:
        """Whether the error is larger behind it."""
        return abs(self.after_pct) > abs(self.before_pct)


@dataclass(frozen=True)
class Series:
    """Errors of one predictor on one kind of measurement, in the order of time."""

    key: Key
    points: tuple[Point, ...]
    summary: ErrorSummary
    now: ErrorSummary
    """The summary since the last change."""
    changes: tuple[Change, ...]
    trend: Figure | None
    """The trend of the absolute error since the last change, in percentage points for 30 days."""
    verdict: Verdict

    @property
    def named(self) -> bool:
        """Whether the newest job asked for the predictor; baselines are asked always."""
        return self.points[-1].said.named

    @property
    def inside(self) -> float | None:
        """Share of the points since the last change, 0 to 1, at which the predicted and the measured interval overlap.

        None where neither has an interval.
        """
        known = [point.within_noise for point in self.current if point.within_noise is not None]
        return sum(known) / len(known) if known else None

    @property
    def current(self) -> tuple[Point, ...]:
        """The points since the last change."""
        return self.points[self.changes[-1].at if self.changes else 0 :]
