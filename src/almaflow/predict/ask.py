"""Ask predictors, which may be anybody's code."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from almaflow.errors import AlmaflowError, UsageError
from almaflow.secrets import mask

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.predict.protocol import Predictor
    from almaflow.records import Prediction, PredictionRequest


@dataclass
class PredictorPool:
    """Asks predictors. One that fails is reported once, is not asked again, and costs only its own answers."""

    notify: Callable[[str], None]
    _failed: set[str] = field(default_factory=set)
    _missed: set[tuple[str, str | None]] = field(default_factory=set)

    def ask(self, predictor: Predictor, question: PredictionRequest, *, early: bool = False) -> Prediction | None:
        """Return the predictor's answer, its version as text; None where it has none.

        Args:
            predictor: The predictor to ask.
            question: The request.
            early: Whether nothing was measured yet that an error could cost.

        Raises:
            UsageError: ``early``, and the predictor cannot be used as it is configured.
        """
        if predictor.name in self._failed:
            return None
        try:
            prediction = predictor.predict(question)
            # YAML and users' own classes give versions as numbers too.
            return replace(prediction, version=str(prediction.version)) if prediction is not None else None
        except Exception as error:
            if early and isinstance(error, UsageError):
                raise
            self._failed.add(predictor.name)
            kind = "" if isinstance(error, AlmaflowError) else f"{type(error).__name__}: "
            self.notify(mask(f"predictor {predictor.name}: {kind}{error}; it is not asked again"))
            return None

    def miss(self, predictor: Predictor, question: PredictionRequest, *, known: bool = False) -> None:
        """Report once that a predictor had no answer and what it lacks, unless its failure was reported.

        Args:
            predictor: The predictor that had none.
            question: The request.
            known: Whether to report only what the predictor itself says that it lacks.
        """
        if predictor.name in self._failed:
            return
        lacking: str | None = None
        with suppress(Exception):  # it is anybody's code too, and says only why there is no prediction
            lacking = getattr(predictor, "lacking", lambda _: None)(question)
        if (known and not lacking) or (predictor.name, lacking) in self._missed:
            return
        self._missed.add((predictor.name, lacking))
        of = f"{question.conversion.name} on {question.hardware.name}"
        why = lacking or "docs/prediction.md says what each needs to know"
        self.notify(f"predictor {predictor.name}: no prediction of {of}; {why}")
