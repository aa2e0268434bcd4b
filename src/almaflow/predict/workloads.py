"""A model's operations, counted once in a child process and kept on disk: the parent imports no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING

from cattrs.errors import ClassValidationError

from almaflow import machine
from almaflow.processes.one_shot import answer_of
from almaflow.records import ModelSpec, Workload, from_dict, read_json, to_dict, write_json

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 3
"""Of the counting: another one makes what is kept worthless."""

TIME_LIMIT_S = 300
PACKAGES = ("torch", "torchvision", "timm", "transformers", "ultralytics")
"""Whose versions may change what a model of a name consists of."""


def workload_of(model: ModelSpec) -> Workload:
    """The operations of one forward call on one batch of ``model.batch_size``.

    Raises:
        UsageError: the model does not build.
        AlmaflowError: it builds, but cannot be counted: its code depends on values, or crashes.
    """
    kept = _place(model)
    if kept and kept.exists():
        try:
            return read_json(kept, Workload)
        except (ValueError, ClassValidationError):
            kept.unlink(missing_ok=True)  # cut short, or of another form
    counted = _counted(model)
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept, counted)
    return counted


def _place(model: ModelSpec) -> Path | None:
    """Where it is kept; nowhere for code of the caller's own, which may change without a sign."""
    own = (model.target or "almaflow.").startswith("almaflow.")
    if model.pickle_path or model.batches_path or model.data_loader or not own:
        return None
    facts = [VERSION, to_dict(replace(model, name="", seed=0)), [_version(name) for name in PACKAGES]]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:20]
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
