"""Predictions without running: what the predictors say of each conversion on each machine, also on those not here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from almaflow.config.resolve import describe_hardware, resolve_learnt, resolve_model
from almaflow.conversions.catalogue.plan import plan
from almaflow.errors import AlmaflowError, TrackingError
from almaflow.predict import PredictorPool, with_baselines
from almaflow.predict.configured import resolve_predictors
from almaflow.predict.workloads import workload_of
from almaflow.records import PredictionRequest
from almaflow.tracking.history import known_errors, past_of
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from almaflow.analysis.standings import Standing
    from almaflow.config.schema import JobConfig
    from almaflow.records import HardwareSpec, ModelSpec, PastMeasurement, PlannedConversion, Prediction, Workload

HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Forecast:
    """What one predictor says of one conversion on one machine."""

    model: str
    batch_size: int
    hardware: HardwareSpec
    conversion: PlannedConversion
    prediction: Prediction
    known: Standing | None
    """How far the predictor was from measurements on that hardware; None where it was never judged there."""

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


def forecasts(job: JobConfig, warn: Callable[[str], None]) -> Iterator[Forecast]:
    """What each predictor says, by conversion.

    Args:
        job: A validated configuration; its hardware need not be here.
        warn: Is told what is missing.

    Raises:
        UsageError: the model does not build, a name is unknown, or a predictor cannot be used as it is configured.
    """
    predictors, asking = with_baselines(resolve_predictors(job)), PredictorPool(warn)
    errors = _errors(job, describe_hardware(job))
    for question in questions(job, warn):
        for predictor in predictors:
            made = asking.ask(predictor, question, early=True)
            if made is not None:
                yield Forecast(
                    question.model.name,
                    question.batch_size,
                    question.hardware,
                    question.conversion,
                    made,
                    errors.get(predictor.name),
                )


def questions(job: JobConfig, warn: Callable[[str], None]) -> Iterator[PredictionRequest]:
    """One for each conversion of the plan; see ``forecasts``."""
    model, hardware = resolve_model(job), describe_hardware(job)
    workload: Workload | None = None
    try:
        workload = workload_of(model)
    except AlmaflowError as error:
        if error.exit_code != AlmaflowError.exit_code:  # a wrong model
            raise
        warn(str(error))
    past, learnt = _past(job, model, hardware), resolve_learnt(job, hardware)
    conversions = plan(
        job.conversions, job.tier.number, hardware.device, allow_device_override=job.allow_device_override
    )
    for conversion in conversions:
        yield PredictionRequest(model, hardware, conversion, model.batch_size, workload, past=past, learnt=learnt)


def _past(job: JobConfig, model: ModelSpec, hardware: HardwareSpec) -> tuple[PastMeasurement, ...]:
    try:
        return past_of(resolve_uri(job.tracking.uri), job.experiment_name, model, hardware)
    except TrackingError:
        return ()


def _errors(job: JobConfig, hardware: HardwareSpec) -> dict[str, Standing]:
    try:
        return known_errors(resolve_uri(job.tracking.uri), job.experiment_name, hardware)
    except TrackingError:
        return {}
