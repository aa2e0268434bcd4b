"""What was learnt of one machine: what operations cost by each conversion."""

from __future__ import annotations

from dataclasses import dataclass, field

from almaflow.records.workload import Workload


@dataclass(frozen=True)
class CostModel:
    """What operations cost by one conversion, as it was learnt on one machine."""

    parameters: dict[str, float]
    """Of the formula in ``predict.costs``, by its names."""
    low: float
    """Measured over predicted: the smallest ratio that is to be expected in 90 of 100 cases."""
    high: float
    """The largest."""
    networks: int
    """How many it was learnt from, whole models among them."""
    control_ms: float
    """The control workload meanwhile: how fast the machine was."""
    whole: float = 1.0
    """What a model takes over what its operations take in small networks, whose data are in the caches."""


@dataclass(frozen=True)
class LearnedCosts:
    """What was learnt on one machine."""

    version: str
    """A hash of all of it."""
    day: str
    """Of the newest measurement, as YYYY-MM-DD."""
    backends: dict[str, CostModel] = field(default_factory=dict)
    """By conversion."""
    runs: tuple[str, ...] = ()
    """Of the store, that it was learnt from."""


@dataclass(frozen=True)
class MeasuredModel:
    """What a model took by one conversion, with its operations: what predictors learn from."""

    model: str
    conversion: str
    workload: Workload
    floor_ms: float
    control_ms: float
    """The control workload beside it: how fast the machine was."""
    run_id: str = ""
    """Where the store has it."""
