"""Turns a validated configuration into a request. Every check that needs no model comes before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from almaflow.config.resolve import resolve_evaluate, resolve_measure
from almaflow.config.validation import plain
from almaflow.jobs.keep_setting import NOTHING, Keep, keep_of, with_logged
from almaflow.predict.configured import resolve_job
from almaflow.records import Resume
from almaflow.records.specs import Choosing
from almaflow.secrets import mask
from almaflow.tracking.uris import display_uri

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.config.schema import JobConfig
    from almaflow.predict import Predictor
    from almaflow.records import EvaluateSpec, HardwareSpec, LearnedCosts, MeasureSpec, ModelSpec, PastMeasurement, PlannedConversion


@dataclass(frozen=True)
class Elsewhere:
    """A job that is recorded on another machine: this one measures, writes files, and opens no store."""

    job_id: str
    directory: Path
    past: tuple[PastMeasurement, ...] = ()
    """What that machine's store has for predictors to learn from."""


@dataclass(frozen=True)
class Request:
    """A validated job: what to measure, where, how, and where the results go."""

    model: ModelSpec
    hardware: HardwareSpec
    measure: MeasureSpec
    tier: int
    plan: tuple[PlannedConversion, ...]
    uri: str
    experiment_name: str
    config: dict[str, Any]
    predictors: tuple[Predictor, ...] = ()
    """The first one's errors are the headline metrics; the baselines are asked besides."""
    learnt: dict[str, LearnedCosts] = field(default_factory=dict)
    """What predictors may know of this machine."""
    choose: Choosing = field(default_factory=Choosing)
    """Limits under which the best conversion is chosen."""
    fail_fast: bool = False
    resume: Resume = Resume.NO
    sweep_id: str | None = None
    evaluate: EvaluateSpec | None = None
    """What the quality of the outputs is on labelled data."""
    keep: Keep = NOTHING
    """The converted models that stay on disk."""
    elsewhere: Elsewhere | None = None
    """Where it is recorded; None: by this process, in the store at ``uri``."""


def make_request(
    job: JobConfig,
    *,
    sweep_id: str | None = None,
    model: ModelSpec | None = None,
    here: bool = True,
) -> Request:
    """The job that a configuration asks for.

    Args:
        job: A validated configuration.
        sweep_id: What the jobs of a sweep share.
        model: Takes the place of the configuration's model, for a caller that has one in hand.
        here: Whether it runs on this machine; otherwise its hardware need not be here.

    Raises:
        UsageError: the model, the hardware, a conversion or the store is not what it should be.
    """
    resolved = resolve_job(job, here=here, model=model)
    return Request(
        **vars(resolved),
        evaluate=resolve_evaluate(job, resolved.model),
        measure=resolve_measure(job),
        tier=job.tier.number,
        experiment_name=job.experiment_name,
        config=kept_config(job),
        fail_fast=job.fail_fast,
        choose=Choosing(**vars(job.choose)),
        resume=Resume(str(job.resume).lower()),
        sweep_id=sweep_id,
        keep=keep_of(with_logged(job.keep, job.log_models), resolved.plan, resolved.model, job.keep_limit_mb),
    )


def kept_config(job: JobConfig) -> dict[str, Any]:
    """The configuration as it is kept on disk and in the store, where no secret belongs."""
    config = plain(job)
    del config["fleet"]  # who measures and by which address says nothing of what is measured
    config["hardware"]["learnt"] = {}  # some hundred numbers; a prediction names their version
    if job.tracking.uri:
        config["tracking"]["uri"] = display_uri(job.tracking.uri)
    return mask(config)
