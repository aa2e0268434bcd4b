"""Predictions without running, for each conversion on each machine, also for machines that are not here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from almaflow.errors import AlmaflowError, TrackingError, UsageError
from almaflow.predict import PredictorPool, with_baselines
from almaflow.predict.configured import resolve_job
from almaflow.predict.roofline import Roofline
from almaflow.predict.workloads import workload_of
from almaflow.records import PredictionRequest
from almaflow.tracking.history import known_errors, past_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from almaflow.analysis.standings import Standing
    from almaflow.config.schema import JobConfig
    from almaflow.predict.configured import ResolvedJob
    from almaflow.records import HardwareSpec, PlannedConversion, Prediction, Workload

HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Forecast:
    """One predictor's answer about one conversion on one machine."""

    model: str
    batch_size: int
    hardware: HardwareSpec
    conversion: PlannedConversion
    prediction: Prediction
    known: Standing | None
    """The predictor's recent error on that hardware; None where it has no scored run there."""

    @property
    def is_bound(self) -> bool:
        """Whether the time to launch operations is left out, since nobody said what it is on that hardware."""
        limits = self.hardware.limits
        return self.prediction.predictor == Roofline.name and (limits is None or limits.overhead_us is None)

    @property
    def throughput(self) -> float:
        """Samples per second, one batch after the other."""
        return 1000 * self.batch_size / self.prediction.latency_ms

    @property
    def usd_per_million(self) -> float | None:
        """USD for a million samples; None where the hardware has no price."""
        price = self.hardware.price_per_hour
        return None if price is None else price * self.prediction.latency_ms / HOUR_MS * 1e6 / self.batch_size

    @property
    def energy_j(self) -> float | None:
        """Joules per sample."""
        return None if self.prediction.energy_j is None else self.prediction.energy_j / self.batch_size


def forecasts(job: JobConfig, notify: Callable[[str], None]) -> Iterator[Forecast]:
    """Yield the answers of each predictor, by conversion.

    Args:
        job: A validated configuration; its hardware need not be here.
        notify: Called with a line for each thing that is missing.

    Raises:
        UsageError: the model does not build, a name is unknown, or a predictor cannot be used as it is configured.
    """
    resolved, pool = resolve_job(job, here=False), PredictorPool(notify)
    try:
        errors = known_errors(resolved.uri, job.experiment_name, resolved.hardware)
    except TrackingError:
        errors = {}
    if resolved.hardware.limits is None and any(isinstance(each, Roofline) for each in resolved.predictors):
        notify(f"roofline knows no limits of {resolved.hardware.name}: almaflow calibrate --quick measures those here")
    for question in questions(resolved, job.experiment_name, notify):
        for predictor in with_baselines(resolved.predictors):
            prediction = pool.ask(predictor, question, early=True)
            if prediction is None:
                pool.miss(predictor, question, known=True)
            else:
                yield Forecast(
                    question.model.name,
                    question.batch_size,
                    question.hardware,
                    question.conversion,
                    prediction,
                    errors.get(predictor.name),
                )


def questions(
    job: ResolvedJob, experiment_name: str, notify: Callable[[str], None] = lambda _: None
) -> Iterator[PredictionRequest]:
    """Yield a request for each conversion of the plan, as a job would ask it before anything is measured.

    Args:
        job: A resolved configuration.
        experiment_name: The experiment whose measurements predictors may know.
        notify: Called with a line where the model's operations cannot be counted.

    Raises:
        UsageError: the model does not build.
    """
    workload: Workload | None = None
    try:
        workload = workload_of(job.model)
    except AlmaflowError as error:
        if isinstance(error, UsageError):
            raise
        notify(str(error))
    try:
        past = past_of(job.uri, experiment_name, job.model, job.hardware)
    except TrackingError:
        past = ()
    digests = {"operations": workload.digest} if workload and not job.model.built_in else {}
    for conversion in job.plan:
        yield PredictionRequest(
            job.model,
            job.hardware,
            conversion,
            job.model.batch_size,
            workload,
            past=past,
            learnt=job.learnt,
            digests=digests,
        )
