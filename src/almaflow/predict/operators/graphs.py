"""Find the operators that a conversion of a model executes, once, in a child process; they are kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.errors import AlmaflowError, RecordError, UsageError
from almaflow.predict.operators.tables import processor_facts
from almaflow.predict.operators.versions import RUNTIMES, runtime_versions
from almaflow.predict.workloads import model_facts
from almaflow.processes.environment import server_environment
from almaflow.processes.one_shot import answer_of
from almaflow.records import HardwareSpec, ModelSpec, from_dict, read_json, to_dict, write_json
from almaflow.records.operators import OperatorGraph

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.records import PlannedConversion

VERSION = 1
"""The version of the reading of graphs, a part of each file's name."""
TIME_LIMIT_S = 600
_FOUND: dict[tuple[str, str, int], OperatorGraph] = {}
"""Graphs of users' own models, which are not kept on disk: their code may change without a sign."""
_FAILED: dict[tuple[str, str, int], str] = {}
"""Why a conversion failed, which may have taken minutes and is not tried again by this process."""


def has_graph(conversion: PlannedConversion) -> bool:
    """Whether the operators that the conversion executes can be found out: here, so on the CPU."""
    return conversion.name in RUNTIMES and conversion.device == "cpu" and not conversion.unavailable


def graph_of(model: ModelSpec, conversion: PlannedConversion, threads: int) -> OperatorGraph:
    """Return the operators of one forward call on one batch of ``model.batch_size``.

    Raises:
        UsageError: the model does not build.
        AlmaflowError: the conversion failed.
    """
    model = replace(model, weights=None)  # operators do not depend on it
    path = _path(model, conversion, threads)
    if path and path.exists():
        try:
            return read_json(path, OperatorGraph)
        except RecordError:
            path.unlink(missing_ok=True)  # it is found again
    key = json.dumps(to_dict(model), sort_keys=True, default=str), conversion.name, threads
    if key in _FAILED:
        raise AlmaflowError(_FAILED[key])
    if key not in _FOUND:
        try:
            _FOUND[key] = _found(model, conversion, threads)
        except UsageError:
            raise
        except AlmaflowError as error:
            _FAILED[key] = str(error)
            raise
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, _FOUND[key])
    return _FOUND[key]


def _path(model: ModelSpec, conversion: PlannedConversion, threads: int) -> Path | None:
    facts = model_facts(model)
    if facts is None:
        return None
    facts += [VERSION, conversion.name, threads, processor_facts(), runtime_versions(conversion.name)]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:20]
    return machine.home() / "operators" / "graphs" / f"{digest}.json"


def _found(model: ModelSpec, conversion: PlannedConversion, threads: int) -> OperatorGraph:
    found = answer_of(
        "almaflow.worker.operators.graph",
        {"model": to_dict(model), "conversion": to_dict(conversion), "threads": threads},
        failed=f"the operators of {model.name} by {conversion.name} could not be found",
        timeout_s=TIME_LIMIT_S,
        environment=os.environ | server_environment(HardwareSpec("here", conversion.device, threads)),
    )
    return from_dict(OperatorGraph, found)
