"""Learning how fast a machine is: its limits, and what operations cost by each conversion."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from dataclasses import dataclass, replace
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from cattrs.errors import ClassValidationError

from almaflow import machine
from almaflow.calibration.networks import kernels
from almaflow.calibration.timing import compiles
from almaflow.config import calibrations as calibration
from almaflow.conversions.catalogue.plan import plan
from almaflow.errors import UsageError
from almaflow.processes.one_shot import answer_of
from almaflow.records import CostModel, LearnedCosts, Workload, from_dict, read_json, to_dict, write_json
from almaflow.tracking.registry import model_name, publish
from almaflow.tracking.training_data import measured_models
from almaflow.tracking.uris import display_uri, resolve_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from almaflow.calibration.timing import Timed
    from almaflow.config.calibrations import Calibration
    from almaflow.records import MeasuredModel, ModelSpec, PlannedConversion

CONVERSIONS = {
    "cpu": ("COMPILE_INDUCTOR_DEFAULT", "ONNX_CPU", "EAGER", "OPENVINO"),
    "cuda": ("COMPILE_INDUCTOR_DEFAULT", "EAGER"),
}
"""What is calibrated where nothing else is asked for; what takes longest to build goes first."""

COMPILED = 3
"""Each third network alone is built by a compiler that takes seconds for each."""

LIMITS_S = 120
"""Measuring the limits takes a tenth of it where nothing else runs."""


@dataclass(frozen=True)
class KernelTimes:
    """What the small networks took on one machine: kept, so that learning again needs no measuring."""

    workloads: dict[str, Workload]
    """By network."""
    floors_ms: dict[str, dict[str, float]]
    """By conversion and network."""
    control_ms: dict[str, float]
    """The control workload meanwhile, by conversion: how fast the machine was."""
    day: str
    """As YYYY-MM-DD."""
    device: str = "cpu"
    """``cpu`` or ``cuda``."""


def planned(names: Sequence[str] | None, device: str = "cpu") -> tuple[PlannedConversion, ...]:
    """The conversions to calibrate.

    Raises:
        UsageError: one is unknown, was asked for and cannot run here, or is none to float32 on the device.
    """
    found = plan(list(names or CONVERSIONS[device]), 1, device, allow_device_override=False)
    for each in found:
        if names and each.unavailable:
            message = f"--conversions {each.name}: cannot run here ({each.unavailable})"
            raise UsageError(message)
        if each.device != device or each.dtype != "float32":
            message = f"--conversions {each.name}: only conversions to float32 on {device} are calibrated with it"
            raise UsageError(message)
    return tuple(each for each in found if not each.unavailable)


def networks(conversions: Iterable[PlannedConversion]) -> dict[PlannedConversion, list[ModelSpec]]:
    """Which networks each conversion is timed on: fewer where a compiler takes seconds for each."""
    return {
        each: [
            spec
            for spec in kernels(each.device)
            if not compiles(each) or int(spec.name.rpartition("-")[2]) % COMPILED == 0
        ]
        for each in conversions
    }


def limits_of(threads: int, device: str) -> dict[str, Any]:
    """Measure this machine's limits in a process of their own, as a hardware config has them.

    Raises:
        AlmaflowError: they could not be measured.
    """
    found: dict[str, Any] = answer_of(
        "almaflow.worker.limits",
        {"threads": threads, "device": device},
        failed="this machine could not be measured",
        timeout_s=LIMITS_S,
    )
    return found


def kernel_times(timed: Timed, device: str = "cpu") -> KernelTimes:
    """What is kept of what was timed."""
    return KernelTimes(
        workloads={name: from_dict(Workload, each) for name, each in timed.workloads.items()},
        floors_ms={
            conversion: {name: _floor(visits) for name, visits in networks.items()}
            for conversion, networks in timed.visits.items()
        },
        control_ms={
            conversion: median(control for visits in networks.values() for _, control in visits)
            for conversion, networks in timed.visits.items()
        },
        day=time.strftime("%Y-%m-%d"),
        device=device,
    )


def _floor(visits: Sequence[tuple[list[float], float]]) -> float:
    """In the fastest quarter of visits, the shortest call: a job's floor is that of calls at several moments too."""
    return quantiles([min(samples) for samples, _ in visits], n=4, method="inclusive")[0]


def place(name: str) -> Path:
    """Where the times of the networks are kept, by the name of the hardware config."""
    return machine.home() / "calibrations" / f"{name}.json"


def keep(name: str, times: KernelTimes) -> None:
    """Keep the times for learning again."""
    place(name).parent.mkdir(parents=True, exist_ok=True)
    write_json(place(name), times)


def kept(name: str) -> KernelTimes:
    """The times that were kept.

    Raises:
        UsageError: there are none.
    """
    try:
        return read_json(place(name), KernelTimes)
    except (OSError, ValueError, ClassValidationError) as error:
        message = f"nothing to learn from: run `almaflow calibrate --name {name}` first, without --quick"
        raise UsageError(message) from error


def learn(
    times: KernelTimes,
    models: Sequence[MeasuredModel] = (),
    before: Mapping[str, CostModel] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> LearnedCosts:
    """What operations cost by each conversion.

    Args:
        times: Of small networks, with the device that they were timed on.
        models: Whole ones beside them.
        before: What was learnt from the small networks alone, to begin with.
        tell: Is told which conversion is learnt.
    """
    from almaflow.calibration.fit import learn_backend

    backends: dict[str, CostModel] = {}
    for each in plan([*times.floors_ms], 1, times.device, allow_device_override=False):
        tell(each.name)
        own = [model for model in models if model.conversion == each.name]
        start = (before or {}).get(each.name)
        networks = {name: (times.workloads[name], floor) for name, floor in times.floors_ms[each.name].items()}
        backends[each.name] = learn_backend(each, networks, times.control_ms[each.name], own, start)
    runs = tuple(sorted({model.run_id for model in models if model.run_id}))
    learnt = LearnedCosts("", times.day, backends, runs)
    digest = hashlib.sha256(json.dumps(to_dict(learnt), sort_keys=True).encode()).hexdigest()[:12]
    return replace(learnt, version=digest)


def measured(experiment_name: str, found: Calibration) -> list[MeasuredModel]:
    """The models that the store has measurements of on that machine.

    Raises:
        UsageError: it has none.
        TrackingError: it cannot be read.
    """
    uri = resolve_uri(None)
    processor = "tags.`env.gpu`" if found.device == "cuda" else "tags.`env.cpu`"
    where = {processor: found.processor, "params.device": found.device, "params.threads": str(found.threads)}
    with tempfile.TemporaryDirectory(prefix="almaflow-history-") as scratch:
        models = list(measured_models(uri, experiment_name, where, scratch))
    models = [each for each in models if each.conversion in found.learnt["kernels"].backends]
    if not models:
        message = (
            f"nothing to learn from: {display_uri(uri)}, experiment {experiment_name}, has no measurement on "
            f"{found.processor} with {found.threads} threads"
        )
        raise UsageError(message)
    return models


def register(found: Calibration, source: str, experiment_name: str) -> str:
    """Keep what was learnt as a version in MLflow's registry; a line that says where.

    Raises:
        TrackingError: the store keeps no models, or does not answer.
    """
    uri, learnt = resolve_uri(None), found.learnt[source]
    files = [calibration.place(found.name), place(found.name)]
    version = publish(uri, experiment_name, found.name, source, learnt, files)
    return f"Registered: {model_name(found.name)}, version {version} ({source} {learnt.version}), {display_uri(uri)}"
