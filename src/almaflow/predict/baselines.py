"""Baselines: predictions that cost nothing, which a predictor has to beat to be worth its name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from almaflow.predict.roofline import Roofline
from almaflow.records import Prediction
from almaflow.records.plan import EAGER

if TYPE_CHECKING:
    from almaflow.predict.protocol import Predictor
    from almaflow.records import PastMeasurement, PredictionRequest


@dataclass(frozen=True)
class LastMeasured:
    """Predicts the latency that the same work had when it was last measured in the same way."""

    name: str = "last_measured"
    version: str = "1"

    def predict(self, question: PredictionRequest) -> Prediction | None:
        for past in question.past:
            if question.fingerprint and past.fingerprint == question.fingerprint:
                return Prediction(past.latency_ms, self.name, self.version)
        return None


@dataclass(frozen=True)
class EagerRatio:
    """Predicts eager's latency times the median share of it that the conversion took on other models."""

    name: str = "eager_ratio"
    version: str = "1"

    def predict(self, question: PredictionRequest) -> Prediction | None:
        """Return None where eager was measured neither in this job nor before, or the conversion on no other model."""
        eager_ms = question.eager_ms or _eager_before(question)
        ratios = _ratios(question)
        if eager_ms is None or not ratios or question.conversion.name == EAGER:
            return None
        return Prediction(eager_ms * median(ratios), self.name, self.version)


def _eager_before(question: PredictionRequest) -> float | None:
    same = (past.latency_ms for past in question.past if past.conversion == EAGER and question.is_same_model(past))
    return next(same, None)


def _ratios(question: PredictionRequest) -> list[float]:
    """Return one ratio for each other model and batch size: a model that is measured every night counts once."""
    latest: dict[tuple[str, int], PastMeasurement] = {}
    for past in question.past:
        if past.conversion == question.conversion.name and past.model != question.model.name and past.speedup_vs_eager:
            latest.setdefault((past.model, past.batch_size), past)
    speedups = [past.speedup_vs_eager for past in latest.values() if past.speedup_vs_eager]
    return [1 / speedup for speedup in speedups if speedup > 0 and math.isfinite(speedup)]


BASELINES: tuple[Predictor, ...] = (LastMeasured(), EagerRatio(), Roofline())
"""The predictors that are asked in every job, whichever it names."""


def with_baselines(predictors: tuple[Predictor, ...]) -> tuple[Predictor, ...]:
    """Return the predictors, then the baselines that are not among them by name."""
    names = {predictor.name for predictor in predictors}
    return (*predictors, *(baseline for baseline in BASELINES if baseline.name not in names))
