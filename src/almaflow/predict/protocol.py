"""What every predictor offers, and the one definition of prediction error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from almaflow.records import Prediction, PredictionRequest


class Predictor(Protocol):
    """Predicts without running the model. A new version says that the same question may get a new answer."""

    @property
    def name(self) -> str:
        """Names the series in which the predictor's accuracy is followed: letters, digits, ``_ . -``."""

    @property
    def version(self) -> str:
        """Changes whenever the predictor does."""

    def predict(self, question: PredictionRequest) -> Prediction | None:
        """Predict one forward call on one batch; None where the predictor has nothing to say."""
