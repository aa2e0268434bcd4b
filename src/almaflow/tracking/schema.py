"""The names under which MLflow knows a job and its conversions: params, tags, keys that tell results apart."""

from __future__ import annotations

import math
import posixpath
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow.analysis.quality import verdict
from almaflow.analysis.warnings import warnings_of
from almaflow.machine import home
from almaflow.records import size_label
from almaflow.tracking.fingerprints import as_text, digest_tags, fingerprint, input_shape, logical_key, quality_params

if TYPE_CHECKING:
    from collections.abc import Mapping

    from almaflow.analysis import Analysis
    from almaflow.records import Job, Outcome

# MLflow cuts longer values without a word.
KEY_LENGTH = 250
PARAM_LENGTH = 6000
TAG_LENGTH = 8000
RUN_NAME_LENGTH = 250
ACCURACY_EXPERIMENT = "{} accuracy"
"""Name of the experiment that has the errors over time of another one, by its name."""
CUT = "… [cut]"
PARETO, CHOSEN = "almaflow.pareto", "almaflow.chosen"
MARKS = (PARETO, CHOSEN)
"""Tags that a conversion has by what the others of its job are."""


def key(name: str) -> str:
    """Return the key as MLflow takes it: letters, digits and ``_ . - / space``, at most 250 of them."""
    safe = re.sub(r"[^\w.\-/ ]", "_", name)[:KEY_LENGTH] or "_"
    # MLflow refuses what reads as another path: a//b, ./a, a/, ../a.
    is_path = posixpath.normpath(safe) != safe or safe.startswith(("/", "..")) or safe == "."
    return re.sub(r"[/.]", "_", safe) if is_path else safe


def cut(value: str, length: int) -> str:
    """Cut the value to ``length`` characters, with a mark at its end where something was left out."""
    return value if len(value) <= length else value[: length - len(CUT)] + CUT


def check_metrics(metrics: Mapping[str, float]) -> None:
    """Refuse metrics that MLflow would store as something else.

    Raises:
        ValueError: a value is NaN or infinite, or a name is not one that MLflow takes.
    """
    for name, value in metrics.items():
        if not math.isfinite(value):
            message = f"the metric {name!r} is {value}: a figure that is not known is left out, never logged"
            raise ValueError(message)
        if key(name) != name:
            message = f"MLflow takes no metric by the name {name!r}"
            raise ValueError(message)


def job_params(job: Job) -> dict[str, str]:
    """Return the params that all conversions of a job have in common."""
    values: dict[str, object] = {
        "model": job.model.name,
        "hardware": job.hardware.name,
        "tier": job.tier,
        "batch_size": job.model.batch_size,
        "input_shape": input_shape(job),
        "device": job.hardware.device,
        "threads": job.hardware.threads,
        "cpus": None if job.hardware.cpus is None else ",".join(map(str, job.hardware.cpus)),
        "dynamic": ", ".join(map(str, job.model.dynamic)) or None,
        "sizes": ", ".join(map(size_label, job.model.sizes)) or None,
    }
    values |= {f"measure.{name}": value for name, value in asdict(job.measure).items() if value is not None}
    values |= quality_params(job)
    values["evaluate.max_drop"] = job.evaluate.max_drop if job.evaluate else None
    if segment := job.model.segment:
        values |= {"segment": segment.segment_id, "family": segment.family, "calls": segment.calls}
    return {key(name): cut(as_text(value), PARAM_LENGTH) for name, value in values.items() if value is not None}


def params(job: Job, outcome: Outcome) -> dict[str, str]:
    """Return the params of a conversion as it was requested; the values are strings as MLflow keeps them."""
    planned = outcome.planned
    values: dict[str, object] = {
        "conversion": planned.name,
        "engine": planned.engine,
        "dtype": planned.dtype,
        "device": planned.device,
        "predictor": outcome.prediction.predictor if outcome.prediction else "none",
    }
    return job_params(job) | {name: cut(as_text(value), PARAM_LENGTH) for name, value in values.items()}


def job_tags(job: Job) -> dict[str, str]:
    """Return tags of the job's own run."""
    warnings = "; ".join(warnings_of(job))
    figures = ", ".join(job.prepared.quality) if job.prepared else ""
    named = {"kind": "job", "job_id": job.job_id, "sweep_id": job.sweep_id, "machine": job.machine}
    named["plan_fingerprint"] = job.plan_fingerprint
    return _tags(job, {**named, "warnings": warnings, "quality": figures, **_digests(job), **_segment(job)})


def tags(job: Job, outcome: Outcome) -> dict[str, str]:
    """Return the tags of a conversion as it ran, without a user name or a path of this machine."""
    planned, measured, failure, prediction = outcome.planned, outcome.measurement, outcome.failure, outcome.prediction
    values: dict[str, object] = {
        "kind": "conversion",
        "status": outcome.status.value,
        "job_id": job.job_id,
        "sweep_id": job.sweep_id,
        "machine": job.machine,
        "fingerprint": fingerprint(job, planned),
        "logical_key": logical_key(job, outcome),
        "conversion_requested": planned.requested,
        "family": planned.family,
        "engine": planned.engine,
        "device_requested": job.hardware.device,
        "device_planned": planned.device,
        "interrupted": True if outcome.interrupted else None,
    }
    values |= _digests(job) | _segment(job)
    if failure:
        values |= {
            "failure": failure.kind.value,
            "failure_message": failure.message,
            "failure_phase": failure.phase,
        }
    if planned.unavailable:
        values |= {"unavailable": planned.unavailable, "install": planned.install}
        values.setdefault("failure", planned.unavailable_kind.value if planned.unavailable_kind else None)
    if prediction:
        values["predictor_version"] = prediction.version
    values |= {f"predictor_version.{prediction.predictor}": prediction.version for prediction in outcome.predictions}
    if measured:
        values |= {
            "device_actual": measured.device_actual,
            "repairs": ", ".join(measured.repairs),
            "notes": "; ".join(measured.notes),
            "quality": verdict(job, outcome),
        }
        values |= {f"runtime.{name}": value for name, value in measured.runtime.items()}
        values |= {f"threads.{name}": value for name, value in measured.threads.items()}
    return _tags(job, values)


def verdict_tags(analysis: Analysis) -> dict[str, str]:
    """Return tags of the job's own run that tell its Pareto front, and the choice where it was given limits."""
    tags = {PARETO: ", ".join(analysis.pareto)}
    if analysis.choice:
        tags[CHOSEN] = analysis.choice.conversion or "none"
    return {name: cut(value, TAG_LENGTH) for name, value in tags.items() if value}


def marks(analysis: Analysis, conversion: str) -> dict[str, str]:
    """Return those of ``MARKS`` that a conversion has: they are known when its job is at its end."""
    chosen = analysis.choice.conversion if analysis.choice else None
    found = ((PARETO, conversion in analysis.pareto), (CHOSEN, conversion == chosen))
    return {name: "true" for name, has_it in found if has_it}


def _segment(job: Job) -> dict[str, object]:
    """Return what says of a segment where it comes from."""
    if not (segment := job.model.segment):
        return {}
    return {"profile_id": segment.profile_id, "segment_id": segment.segment_id, "location": segment.location}


def _digests(job: Job) -> dict[str, str]:
    return digest_tags(job.prepared.digests) if job.prepared else {}


def run_name(job: Job, outcome: Outcome | None = None) -> str:
    """Return the name of a run in lists: ``ONNX_CPU resnet18 b1``, or ``resnet18 b1 tier 2`` for the job's own.

    A job whose conversions were named has their number in place of the tier: ``resnet18 b1, 3 conversions``.

    The conversion comes first, since MLflow's table cuts long names and shows the beginning.
    """
    model, batch = job.model.name, f"b{job.model.batch_size}"
    if outcome:
        return cut(f"{outcome.planned.name} {model} {batch}", RUN_NAME_LENGTH)
    named = len(job.config.get("conversions") or ())
    of = f", {named} conversion{'' if named == 1 else 's'}" if named else f" tier {job.tier}"
    return cut(f"{model} {batch}{of}", RUN_NAME_LENGTH)


def without_paths(text: str, job: Job) -> str:
    """Replace this machine's directories in a text by what they are, since they hold a user's name."""
    for directory, name in ((job.directory, "<job>"), (str(home()), "<almaflow>"), (str(Path.home()), "~")):
        if len(Path(directory).parts) > 1:
            text = re.sub(rf"{re.escape(directory)}(?![\w.-])", name, text)
    return text


def _tags(job: Job, values: Mapping[str, object]) -> dict[str, str]:
    named = {f"almaflow.{name}": value for name, value in values.items()}
    named |= {f"env.{name}": value for name, value in job.environment.items()}
    texts = {key(name): without_paths(as_text(value), job) for name, value in named.items() if value is not None}
    return {name: cut(text, TAG_LENGTH) for name, text in texts.items() if text}
