"""Predictions of a job's conversions, from what was known before these were measured."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from almaflow.analysis import counts, timings
from almaflow.predict import Given, with_baselines
from almaflow.records import PredictionRequest
from almaflow.records.plan import EAGER
from almaflow.tracking.fingerprints import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from almaflow.predict import Predictor, PredictorPool
    from almaflow.records import Job, LearnedCosts, ModelSpec, Outcome, PastMeasurement, PlannedConversion, Prediction


@dataclass
class JobPredictions:
    """Asks the predictors that a job names, and the baselines."""

    named: tuple[Predictor, ...]
    past: tuple[PastMeasurement, ...]
    pool: PredictorPool
    learnt: dict[str, LearnedCosts] = field(default_factory=dict)
    model: ModelSpec | None = None
    """The model with its secrets, which a job's record has not: a predictor may build it."""
    _before: dict[tuple[str, PlannedConversion], Prediction] = field(default_factory=dict)

    def before(self, job: Job, plan: Iterable[PlannedConversion]) -> None:
        """Ask the named predictors before anything is measured, since some compute for seconds.

        Raises:
            UsageError: one of them cannot be used as it is configured.
        """
        for planned in plan:
            question = self._question(job, planned, None)
            for predictor in self.named:
                if prediction := self.pool.ask(predictor, question, early=True):
                    self._before[predictor.name, planned] = prediction

    def outcomes(self, job: Job, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """Return the outcomes, each with its predictions.

        Args:
            job: The running job, prepared.
            outcomes: The outcomes of conversions that ended just now.
        """
        ended = list(outcomes)
        eager_ms = _eager_ms([*job.outcomes, *job.references, *ended])
        return [self._predicted(job, outcome, eager_ms) for outcome in ended]

    def _predicted(self, job: Job, outcome: Outcome, eager_ms: float | None) -> Outcome:
        question = self._question(job, outcome.planned, eager_ms)
        answers = {
            each.name: self._before.get((each.name, outcome.planned)) or self.pool.ask(each, question)
            for each in with_baselines(self.named)
        }
        for each in self.named:
            # Given is named by default, without a number.
            if answers[each.name] is None and not isinstance(each, Given):
                self.pool.miss(each, question)
        first = answers[self.named[0].name] if self.named else None
        return replace(outcome, prediction=first, predictions=tuple(filter(None, answers.values())))

    def _question(self, job: Job, planned: PlannedConversion, eager_ms: float | None) -> PredictionRequest:
        return PredictionRequest(
            model=self.model or job.model,
            hardware=job.hardware,
            conversion=planned,
            batch_size=job.model.batch_size,
            workload=job.prepared.workload if job.prepared else None,
            fingerprint=fingerprint(job, planned),
            past=tuple(past for past in self.past if past.job_id != job.job_id),
            learnt=self.learnt,
            eager_ms=eager_ms,
            digests=job.prepared.digests if job.prepared else {},
        )


def _eager_ms(outcomes: Iterable[Outcome]) -> float | None:
    for outcome in outcomes:
        if outcome.planned.name == EAGER and counts(outcome):
            timed = timings(outcome)
            return timed.median if timed and timed.median > 0 else None
    return None
