"""Predictors of latency: almaflow's own, the caller's numbers, and the baselines that each is compared with."""

from __future__ import annotations

from almaflow.predict.ask import PredictorPool
from almaflow.predict.baselines import BASELINES, EagerRatio, LastMeasured, with_baselines
from almaflow.predict.calibrated import Calibrated
from almaflow.predict.given import Given
from almaflow.predict.graphs.predictor import Graphs
from almaflow.predict.operators.predictor import Operators
from almaflow.predict.protocol import Predictor
from almaflow.predict.roofline import Roofline

__all__ = [
    "BASELINES",
    "Calibrated",
    "EagerRatio",
    "Given",
    "Graphs",
    "LastMeasured",
    "Operators",
    "Predictor",
    "PredictorPool",
    "Roofline",
    "with_baselines",
]
