"""The interface of a predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from almaflow.records import Prediction, PredictionRequest


class Predictor(Protocol):
    """Predicts without running the model. A new version says that the same question may get a new answer."""

    @property
    def name(self) -> str:
        """The name of the series that follow the predictor's accuracy: letters, digits, ``_ . -``."""

    @property
    def version(self) -> str:
        """The version, which changes whenever the predictor does."""

    def predict(self, question: PredictionRequest) -> Prediction | None:
        """Predict one forward call on one batch; None where the predictor has nothing to say."""
