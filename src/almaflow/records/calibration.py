"""Costs of operations by each conversion, as they were learned on one machine."""

from __future__ import annotations

from dataclasses import dataclass, field

from almaflow.records.workload import Workload


@dataclass(frozen=True)
class CostModel:
    """Costs of operations by one conversion, as they were learned on one machine."""

    parameters: dict[str, float]
    """Parameters of the formula in ``predict.costs``, by their names there."""
    low: float
    """Smallest ratio of measured over predicted latency that is to be expected in 90 of 100 cases."""
    high: float
    """Largest such ratio."""
    networks: int
    """Number of networks that it was learned from, whole models included."""
    control_ms: float
    """Time of the control workload meanwhile, for how fast the machine was."""
    whole: float = 1.0
    """Time of a whole model over that of its operations in small networks, whose data are in the caches."""


@dataclass(frozen=True)
class LearnedCosts:
    """Cost models that were learned on one machine."""

    version: str
    """Hash of all the rest."""
    day: str
    """Day of the newest measurement, as YYYY-MM-DD."""
    backends: dict[str, CostModel] = field(default_factory=dict)
    """Cost models by the conversion's name."""
    runs: tuple[str, ...] = ()
    """IDs of the runs in the store that it was learned from."""


@dataclass(frozen=True)
class MeasuredModel:
    """The latency of a model by one conversion, with the model's operations, for predictors to learn from."""

    model: str
    conversion: str
    workload: Workload
    floor_ms: float
    control_ms: float
    """Time of the control workload beside it, for how fast the machine was."""
    run_id: str = ""
    """ID of its run in the store."""
