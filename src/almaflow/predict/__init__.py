"""What a conversion is expected to take, and how far that is from what it took."""

from __future__ import annotations

from almaflow.predict.given import Given
from almaflow.predict.predictor import Predictor, error_pct

__all__ = ["Given", "Predictor", "error_pct"]
