"""Calibrate a machine: measure its limits, and learn what operations cost by each conversion."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Any, Protocol

from almaflow import machine
from almaflow.calibration.networks import calibration_networks
from almaflow.calibration.times import NetworkTimes, load_times, network_times, save_times, times_path
from almaflow.calibration.timing import PASSES, compiles, time_kernels
from almaflow.config.calibrations import Calibration, config_path, read
from almaflow.conversions.catalogue.plan import plan
from almaflow.errors import UsageError
from almaflow.machine.lock import alone
from almaflow.processes.one_shot import answer_of
from almaflow.records import CostModel, LearnedCosts, to_dict
from almaflow.tracking.registry import model_name, publish
from almaflow.tracking.training_data import measured_models
from almaflow.tracking.uris import display_uri, resolve_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from almaflow.records import HardwareSpec, MeasuredModel, ModelSpec, PlannedConversion

CONVERSIONS = {
    "cpu": ("COMPILE_INDUCTOR_DEFAULT", "ONNX_CPU", "EAGER", "OPENVINO"),
    "cuda": ("COMPILE_INDUCTOR_DEFAULT", "EAGER"),
}
"""The conversions that are calibrated by default; those that take longest to build come first."""

COMPILED = 3
"""A compiler that takes seconds for each network builds only each third one."""

LIMITS_S = 120
"""Seconds within which the limits are measured; an idle machine takes a tenth of that."""


class CalibrationProgress(Protocol):
    """Shows how far a calibration is."""

    def notify(self, text: str) -> None:
        """Show a line that stays."""

    def status(self, text: str) -> None:
        """Show what is being done from now on."""

    def timing(self, text: str, steps: int, total: int) -> None:
        """Show what is being built or timed, and that ``steps`` more of ``total`` are done."""


def conversions_to_calibrate(names: Sequence[str] | None, device: str = "cpu") -> tuple[PlannedConversion, ...]:
    """Return the conversions of these names, or those of ``CONVERSIONS`` that can run here.

    Raises:
        UsageError: one is unknown, was asked for and cannot run here, or is none to float32 on the device.
    """
    conversions = plan(list(names or CONVERSIONS[device]), 1, device, allow_device_override=False)
    for each in conversions:
        if names and each.unavailable:
            message = f"--conversions {each.name}: cannot run here ({each.unavailable})"
            raise UsageError(message)
        if each.device != device or each.dtype != "float32":
            message = f"--conversions {each.name}: only conversions to float32 on {device} are calibrated with it"
            raise UsageError(message)
    return tuple(each for each in conversions if not each.unavailable)


def networks_for(conversions: Iterable[PlannedConversion]) -> dict[PlannedConversion, list[ModelSpec]]:
    """Return the networks that each conversion is timed on: fewer where a compiler takes seconds for each."""
    return {
        each: [
            spec
            for spec in calibration_networks(each.device)
            if not compiles(each) or int(spec.name.rpartition("-")[2]) % COMPILED == 0
        ]
        for each in conversions
    }


def calibrate_machine(
    name: str, hardware: HardwareSpec, conversions: Sequence[PlannedConversion], progress: CalibrationProgress
) -> Calibration:
    """Measure this machine while no job does, and learn what operations cost.

    Args:
        name: The name of the hardware config.
        hardware: The device and the threads to measure with.
        conversions: The conversions to time networks by; with none, only the limits are measured.
        progress: Shows how far it is.

    Raises:
        AlmaflowError: something could not be measured.
    """
    device, threads, here = hardware.device, hardware.threads, machine.describe()
    processor = here.processor(device)
    with alone("wait", progress.notify):
        progress.status(f"measuring the limits with {threads} threads, about 20 seconds")
        limits: dict[str, Any] = answer_of(
            "almaflow.worker.limits",
            {"threads": threads, "device": device},
            failed="this machine could not be measured",
            timeout_s=LIMITS_S,
        )
        times = _timed(conversions, threads, progress) if conversions else None
    if times:
        save_times(name, times)
        learnt = {"kernels": learn(times, notify=lambda each: progress.status(f"learning {each}"))}
    else:
        learnt = _learnt_before(name, processor, threads)
    remark = f"Measured by almaflow calibrate, {time.strftime('%Y-%m-%d')}, PyTorch {metadata.version('torch')}"
    description = f"{here.cpu}, {here.physical_cores} cores"
    if device == "cuda":
        description = f"{processor} beside {description}"
    return Calibration(name, device, processor, description, threads, limits, learnt, remark)


def _timed(conversions: Sequence[PlannedConversion], threads: int, progress: CalibrationProgress) -> NetworkTimes:
    networks = networks_for(conversions)
    total = sum(len(each) for each in networks.values()) * (1 + PASSES)
    timed = time_kernels(networks, threads, lambda text, steps: progress.timing(text, steps, total))
    for conversion, network, why in timed.failed:
        progress.notify(f"{conversion} did not build {network}: {why}")
    return network_times(timed, conversions[0].device)


def _learnt_before(name: str, processor: str, threads: int) -> dict[str, LearnedCosts]:
    """Return an earlier calibration's costs of this machine, which measuring its limits alone does not change."""
    with suppress(UsageError):
        before = read(name)
        return before.learnt if (before.processor, before.threads) == (processor, threads) else {}
    return {}


def learn_from_history(name: str, experiment_name: str, progress: CalibrationProgress) -> Calibration:
    """Learn again without measuring: from the networks' times, and the models that the store has.

    Raises:
        UsageError: the machine was not calibrated, or the store has no measurements of it.
        TrackingError: the store cannot be read.
    """
    times, calibration = load_times(name), read(name)
    if "kernels" not in calibration.learnt:
        message = f"nothing to correct: run `almaflow calibrate --name {name}` first, without --quick"
        raise UsageError(message)
    progress.status("reading the store")
    models = stored_models(experiment_name, calibration)
    before = calibration.learnt["kernels"].backends
    learnt = learn(times, models, before, lambda each: progress.status(f"learning {each}"))
    progress.notify(f"learnt from {len(models)} measurements of {len({each.model for each in models})} models")
    return replace(calibration, learnt=calibration.learnt | {"history": learnt})


def learn(
    times: NetworkTimes,
    models: Sequence[MeasuredModel] = (),
    before: Mapping[str, CostModel] | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> LearnedCosts:
    """Learn what operations cost by each conversion.

    Args:
        times: The times of small networks, with the device that they were timed on.
        models: Measurements of whole models, which are learnt from too.
        before: The costs that were learnt from the small networks alone, to begin with.
        notify: Called with the name of each conversion before it is learnt.
    """
    from almaflow.calibration.fit import learn_backend

    backends: dict[str, CostModel] = {}
    for each in plan([*times.floors_ms], 1, times.device, allow_device_override=False):
        notify(each.name)
        own = [model for model in models if model.conversion == each.name]
        start = (before or {}).get(each.name)
        networks = {name: (times.workloads[name], floor) for name, floor in times.floors_ms[each.name].items()}
        backends[each.name] = learn_backend(each, networks, times.control_ms[each.name], own, start)
    runs = tuple(sorted({model.run_id for model in models if model.run_id}))
    learnt = LearnedCosts("", times.day, backends, runs)
    digest = hashlib.sha256(json.dumps(to_dict(learnt), sort_keys=True).encode()).hexdigest()[:12]
    return replace(learnt, version=digest)


def stored_models(experiment_name: str, calibration: Calibration) -> list[MeasuredModel]:
    """Return the models that the store has measurements of on the calibrated machine.

    Raises:
        UsageError: the store has none.
        TrackingError: the store cannot be read.
    """
    uri, processor, threads = resolve_uri(None), calibration.processor, calibration.threads
    tag = "tags.`env.gpu`" if calibration.device == "cuda" else "tags.`env.cpu`"
    where = {tag: processor, "params.device": calibration.device, "params.threads": str(threads)}
    with tempfile.TemporaryDirectory(prefix="almaflow-history-") as scratch:
        models = list(measured_models(uri, experiment_name, where, scratch))
    models = [each for each in models if each.conversion in calibration.learnt["kernels"].backends]
    if not models:
        message = (
            f"nothing to learn from: {display_uri(uri)}, experiment {experiment_name}, has no measurement on "
            f"{processor} with {threads} threads"
        )
        raise UsageError(message)
    return models


def register(calibration: Calibration, source: str, experiment_name: str) -> str:
    """Keep what was learnt as a version in MLflow's registry, and return a line that says where.

    Raises:
        TrackingError: the store keeps no models, or does not answer.
    """
    uri, name, learnt = resolve_uri(None), calibration.name, calibration.learnt[source]
    version = publish(uri, experiment_name, name, source, learnt, [config_path(name), times_path(name)])
    return f"Registered: {model_name(name)}, version {version} ({source} {learnt.version}), {display_uri(uri)}"
