"""Resolve a configuration for predicting and for measuring, which take the same model, plan, store and predictors."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from almaflow.config.instantiate import instantiate
from almaflow.config.resolve import describe_hardware, resolve_hardware, resolve_learnt, resolve_model
from almaflow.conversions.catalogue.plan import plan
from almaflow.errors import UsageError
from almaflow.predict import Given, Predictor
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from almaflow.config.schema import JobConfig
    from almaflow.records import HardwareSpec, LearnedCosts, ModelSpec, PlannedConversion

_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class ResolvedJob:
    """The parts of a configuration that predicting and measuring share."""

    model: ModelSpec
    hardware: HardwareSpec
    plan: tuple[PlannedConversion, ...]
    uri: str
    """The store, resolved."""
    predictors: tuple[Predictor, ...]
    """The predictors that the configuration names, without the baselines."""
    learnt: dict[str, LearnedCosts]
    """The machine's learned costs, by their source."""


def resolve_job(job: JobConfig, *, here: bool, model: ModelSpec | None = None) -> ResolvedJob:
    """Resolve a validated configuration.

    Args:
        job: The configuration.
        here: Whether the job has to run on this machine; otherwise its hardware need not be here.
        model: A model that takes the place of the configuration's.

    Raises:
        UsageError: the model, the hardware, a conversion, a predictor or the store is not what it should be.
    """
    hardware = resolve_hardware(job) if here else describe_hardware(job)
    model = model or resolve_model(job)
    return ResolvedJob(
        model=model,
        hardware=hardware,
        plan=plan(
            job.conversions,
            job.tier.number,
            hardware.device,
            allow_device_override=job.allow_device_override,
            dynamic=bool(model.dynamic),
        ),
        uri=resolve_uri(job.tracking.uri),
        predictors=resolve_predictors(job),
        learnt=resolve_learnt(job, hardware),
    )


def resolve_predictors(job: JobConfig) -> tuple[Predictor, ...]:
    """Return the predictors that a configuration names, in that order.

    A ``predicted_latency_ms`` comes first where none of them takes it.

    Raises:
        UsageError: one cannot be made, or is no predictor.
    """
    predictors = [_predictor(name, entry) for name, entry in job.predictor.items()]
    if job.predicted_latency_ms is not None and not any(isinstance(each, Given) for each in predictors):
        predictors.insert(0, Given(job.predicted_latency_ms, job.predicted_energy_j, job.predicted_for))
    names = [predictor.name for predictor in predictors]
    if twice := [name for name in names if names.count(name) > 1]:
        message = f"predictor: two of them are called {twice[0]}; give one of them another name"
        raise UsageError(message)
    return tuple(predictors)


def _predictor(key: str, entry: object) -> Predictor:
    if not isinstance(entry, dict) or not entry.get("_target_"):
        message = f"predictor.{key}: needs a _target_, the import path of a predictor class"
        raise UsageError(message)
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # a user's own class is found from where the command was started, as workers find models
    predictor = instantiate(entry, f"predictor.{key}")
    lacking = [name for name in ("name", "version", "predict") if not hasattr(predictor, name)]
    if lacking or not callable(predictor.predict):
        message = f"predictor.{key}: {entry['_target_']} is no predictor, which has name, version and predict(question)"
        raise UsageError(message)
    if not _NAME.fullmatch(str(predictor.name)):
        message = f"predictor.{key}: its name is {predictor.name!r}, and must be of letters, digits, _ . and -"
        raise UsageError(message)
    return cast("Predictor", predictor)
