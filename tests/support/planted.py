"""What somebody may plant into a shared store: a harmless callable, and a predictor that would call it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from almaflow.models.targets import call_target
from almaflow.records import Prediction, TargetSpec

if TYPE_CHECKING:
    from almaflow.records import PredictionRequest


def leave_mark(path: str) -> object:
    """Write a file where the test looks for one."""
    Path(path).write_text("it ran", encoding="utf-8")
    return object()


class Builder:
    """A predictor that builds the model of each request, as a user's own may, and notes the model's name."""

    name = "builder"
    version = "1"

    def __init__(self, seen: str) -> None:
        self._seen = Path(seen)

    def predict(self, question: PredictionRequest) -> Prediction | None:
        with self._seen.open("a", encoding="utf-8") as seen:
            seen.write(f"{question.model.name} {question.model.arch}\n")
        if question.model.target:
            call_target(TargetSpec(question.model.target, question.model.kwargs), "model")
        return Prediction(1.0, self.name, self.version) if question.model.arch or question.model.target else None
