"""Count a model's operations once, in a child process since the parent imports no torch, and keep them on disk."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

from almaflow import machine
from almaflow.errors import RecordError
from almaflow.processes.one_shot import answer_of
from almaflow.records import ModelSpec, Workload, from_dict, read_json, to_dict, write_json

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 3
"""The version of the counting, a part of each file's name: workloads of another one are not read."""

TIME_LIMIT_S = 300
PACKAGES = ("torch", "torchvision", "timm", "transformers", "ultralytics")
"""Packages whose versions may change what a model of a name consists of."""


def workload_of(model: ModelSpec) -> Workload:
    """Return the operations of one forward call on one batch of ``model.batch_size``.

    Raises:
        UsageError: the model does not build.
        AlmaflowError: the model builds, but cannot be counted: its code depends on values, or crashes.
    """
    model = replace(model, weights=None)  # operations do not depend on it
    path = _path(model)
    if path and path.exists():
        try:
            return read_json(path, Workload)
        except RecordError:
            path.unlink(missing_ok=True)  # it is counted again
    workload = _counted(model)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, workload)
    return workload


def model_facts(model: ModelSpec) -> list[Any] | None:
    """Return what decides on the work of a model; None for the caller's own code, which may change without a sign."""
    if model.batches_path or model.data_loader or not model.built_in:
        return None
    return [to_dict(replace(model, name="", seed=0, directory=None)), [_version(name) for name in PACKAGES]]


def _path(model: ModelSpec) -> Path | None:
    facts = model_facts(model)
    if facts is None:
        return None
    digest = hashlib.sha256(json.dumps([VERSION, *facts], sort_keys=True, default=str).encode()).hexdigest()[:20]
    return machine.home() / "workloads" / f"{digest}.json"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _counted(model: ModelSpec) -> Workload:
    failed = f"the operations of {model.name} could not be counted"
    counted = answer_of("almaflow.worker.count_operations", to_dict(model), failed=failed, timeout_s=TIME_LIMIT_S)
    return from_dict(Workload, counted)
