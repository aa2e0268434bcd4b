"""Keys that tell results apart, and keys that recognise the same result."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from almaflow.records import to_dict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from almaflow.records import Job, Outcome, PlannedConversion

FINGERPRINT_ENVIRONMENT = (
    "cpu",
    "physical_cores",
    "governor",
    "smt",
    "boost",
    "gpu",
    "driver",
    "cuda",
    "python",
    "torch",
    "torchvision",
    "torchao",
    "alma",
    "onnxruntime",
    "openvino",
)
"""Entries of a job's environment that a latency depends on; memory, kernel and git commit are not among them."""

FINGERPRINT_MEASURE = ("streams", "include_transfer", "pin_memory", "non_blocking")
"""Settings that change what a timed call is; the others only set how many there are."""

WORTH_MEASURE = (
    "min_samples",
    "min_time_s",
    "rel_precision",
    "max_time_s",
    "replicates",
    "warmup_calls",
    "warmup_time_s",
    "compile_cache",
)
"""Settings that a figure's reliability depends on, beside those that change what it measures."""

FIGURES_DEPEND_ON = ("target", "kwargs", "samples", "lower_is_better")
"""Settings of an evaluation by which its figures, and the signs of what they lost, differ."""


def fingerprint(job: Job, planned: PlannedConversion) -> str:
    """Return sixteen hexadecimal digits that are equal where two figures may be compared.

    They stand for the machine, the versions, the threads, the model and its inputs, what a timed call is, and the
    conversion; not for the time, or how many samples were taken. Of a model of the user's own they also stand for its
    code, its weights and the values of its inputs. The random weights of a built-in one do not count, nor does the
    seed.
    """
    environment = {name.replace(" ", "_"): value for name, value in job.environment.items()}
    model, prepared = job.model, job.prepared
    facts = _setting(job) | {
        "model": [model.name, model.target, model.arch, model.kwargs, prepared.parameters if prepared else None],
        "inputs": [input_shape(job), _input_dtypes(job), model.batch_size],
        "conversion": [planned.name, planned.engine, planned.device, planned.dtype, planned.input_dtype],
        "runtimes": {name: environment.get(name) for name in planned.traits.runtimes},
    }
    if model.dynamic:
        facts["dynamic"] = [to_dict(model.dynamic), model.sizes, *([to_dict(model.search)] if model.search else [])]
    if prepared and prepared.digests:  # without an entry where there are none: what is in the store has none either
        facts["digests"] = prepared.digests
    return _digest(facts)


def setting_fingerprint(job: Job) -> str:
    """Return sixteen hexadecimal digits that are equal where times of different models may be added.

    They stand for the machine, the versions, the threads, and what a timed call is.
    """
    return _digest(_setting(job))


def _setting(job: Job) -> dict[str, Any]:
    environment = {name.replace(" ", "_"): value for name, value in job.environment.items()}
    device = job.prepared.device_name if job.prepared else None
    facts: dict[str, Any] = {
        "environment": {name: environment.get(name) for name in FINGERPRINT_ENVIRONMENT},
        "machine": [device, job.hardware.threads, job.hardware.cpus],
        "calls": [getattr(job.measure, name) for name in FINGERPRINT_MEASURE],
    }
    if job.measure.keep_memory:  # in the oldest jobs nothing was kept, in later ones up to 64 MiB ("keeps memory")
        facts["allocator"] = "keeps all memory"
    return facts


def fingerprint_without_digests(job: Job, planned: PlannedConversion) -> str:
    """Return the fingerprint that an almaflow would give which takes no digests of models."""
    prepared = replace(job.prepared, digests={}) if job.prepared else None
    return fingerprint(replace(job, prepared=prepared), planned)


def digest_tags(digests: Mapping[str, str]) -> dict[str, str]:
    """Return the digests of a model as tags, without the prefix of almaflow's tags."""
    return {f"digest.{name}": digest for name, digest in digests.items()}


def digests_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the digests of a model from the tags of a run."""
    prefix = "almaflow.digest."
    return {name.removeprefix(prefix): digest for name, digest in tags.items() if name.startswith(prefix)}


def model_digest(tags: Mapping[str, str]) -> str:
    """Return eight hexadecimal digits for all digests in a run's tags; nothing where it has none."""
    digests = digests_of(tags)
    return _digest(digests)[:8] if digests else ""


def plan_fingerprint(job: Job, plan: Sequence[PlannedConversion]) -> str:
    """Return sixteen hexadecimal digits that are equal where a job would repeat another one."""
    return _digest([job.tier, measure_params(job), [fingerprint(job, planned) for planned in plan]])


def measure_params(job: Job) -> dict[str, str]:
    """Return the params that a figure's reliability depends on: one with fewer samples cannot replace another."""
    return {f"measure.{name}": as_text(getattr(job.measure, name)) for name in WORTH_MEASURE} | quality_params(job)


def quality_params(job: Job) -> dict[str, str]:
    """Return the params of what figures of quality depend on; none where the job has no evaluation or calibration."""
    values: dict[str, object] = {}
    if job.evaluate:
        values = {f"evaluate.{name}": getattr(job.evaluate, name) for name in FIGURES_DEPEND_ON}
    if loader := job.model.calibration_loader:
        values |= {"calibration.target": loader.target, "calibration.kwargs": loader.kwargs}
        values["calibration.samples"] = job.model.calibration_samples
    return {name: as_text(value) for name, value in values.items()}


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def logical_key(job: Job, outcome: Outcome) -> str:
    """Return the key of a result, whatever run it is stored in, so that it is never stored twice."""
    return f"{job.job_id}/{outcome.planned.name}"


def as_text(value: object) -> str:
    """Return a value as the text that MLflow keeps."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def input_shape(job: Job) -> str:
    """Return the shapes of the inputs with the batch dimension, separated by commas: ``1x3x224x224``."""
    return ", ".join("x".join(str(size) for size in shape) for shape, _ in _inputs(job)) or "unknown"


def _input_dtypes(job: Job) -> list[str]:
    return [dtype for _, dtype in _inputs(job)]


def _inputs(job: Job) -> list[tuple[tuple[Any, ...], str]]:
    if job.prepared:
        return [(tensor.shape, tensor.dtype) for tensor in job.prepared.inputs]
    return [((job.model.batch_size, *spec.shape), spec.dtype) for spec in job.model.inputs or ()]
