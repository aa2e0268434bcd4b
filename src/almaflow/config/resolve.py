"""Records from a validated configuration: the specs of its model, machine and measurement that other packages take."""

from __future__ import annotations

import logging
import re
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from cattrs.errors import ClassValidationError

from almaflow import machine
from almaflow.config.calibrations import calibrated_here, learnt_from
from almaflow.config.cpus import format_cpus, parse_cpus
from almaflow.config.dynamic import batch_search, dynamic_dims, further_sizes
from almaflow.config.schema import Device
from almaflow.errors import UsageError
from almaflow.records import (
    EvaluateSpec,
    HardwareSpec,
    InputSpec,
    Limits,
    MeasureSpec,
    ModelSpec,
    TargetSpec,
    from_dict,
    to_dict,
)

if TYPE_CHECKING:
    from almaflow.config.schema import DataLoaderConfig, HardwareConfig, JobConfig
    from almaflow.records import LearnedCosts

T = TypeVar("T")


def resolve_model(job: JobConfig) -> ModelSpec:
    """Return the model that the worker builds.

    Raises:
        UsageError: nothing says what to build, or what its inputs are.
    """
    model = job.model
    target = model._target_
    loader = model.data_loader._target_
    name = model.name or (target.rpartition(".")[2] if target else model.arch)
    if not name or not (target or model.arch):
        message = (
            "no model: give model.arch=NAME, a torchvision classification model, or model._target_=PACKAGE.CALLABLE, "
            "which returns a module"
        )
        raise UsageError(message)
    if target and model.inputs is None and loader is None:
        message = (
            f"model.inputs is required with model._target_={target}: the shapes without the batch dimension, "
            "e.g. 'model.inputs=[{shape: [3, 224, 224]}]', or a model.data_loader"
        )
        raise UsageError(message)
    return ModelSpec(
        name=name,
        target=target,
        arch=None if target or not model.arch else model.arch.lower().replace("-", "_"),
        kwargs=dict(model.kwargs),
        weights=weights_file(job),
        inputs=None if model.inputs is None else tuple(_record(InputSpec, each) for each in model.inputs),
        data_loader=loader_spec(model.data_loader),
        calibration_loader=loader_spec(model.calibration_loader),
        calibration_samples=model.calibration_samples,
        batch_size=job.batch_size,
        batch_dim=model.batch_dim,
        padding_mask=model.padding_mask,
        attention_mask=model.attention_mask,
        **dynamic_fields(job),
        directory=str(Path.cwd()) if target or loader or model.calibration_loader._target_ else None,
        seed=job.seed,
    )


def dynamic_fields(job: JobConfig) -> dict[str, Any]:
    """Return the fields of the model's record that say which sizes may change, and at which it is measured."""
    dims = dynamic_dims(job.model, job.batch_size)
    search = batch_search(job.model, dims, job.choose.max)
    return {"dynamic": dims, "sizes": further_sizes(job.model, dims), "search": search}


def loader_spec(loader: DataLoaderConfig) -> TargetSpec | None:
    """Return the callable that makes a data loader; None where the configuration names none."""
    return TargetSpec(loader._target_, dict(loader.kwargs)) if loader._target_ else None


def resolve_evaluate(job: JobConfig, model: ModelSpec) -> EvaluateSpec | None:
    """Return the evaluation that is asked for; None where none is.

    Raises:
        UsageError: the model has no data loader, whose samples have labels.
    """
    evaluate = job.evaluate
    if evaluate._target_ is None:
        return None
    if model.data_loader is None and model.batches_path is None:
        message = (
            f"evaluate._target_={evaluate._target_}: needs a model.data_loader whose batches hold the inputs, then the "
            "labels, e.g. model.data_loader._target_=my_package.my_loader"
        )
        raise UsageError(message)
    return EvaluateSpec(
        evaluate._target_, dict(evaluate.kwargs), evaluate.samples, evaluate.max_drop, tuple(evaluate.lower_is_better)
    )


def weights_file(job: JobConfig) -> str | None:
    """Return the absolute path of the file with the model's weights; None where the configuration names none.

    Raises:
        UsageError: there is no such file.
    """
    if job.model.weights is None:
        return None
    path = Path(job.model.weights).expanduser().absolute()
    if not path.is_file():
        message = f"model.weights={job.model.weights}: there is no such file"
        raise UsageError(message)
    return str(path)


def resolve_measure(job: JobConfig) -> MeasureSpec:
    """Return the settings of the measurement."""
    jobs = job.measure.prepare_jobs or machine.cpus.usable_cores(parse_cpus(job.hardware.cpus))
    return _record(MeasureSpec, job.measure, prepare_jobs=jobs)


def _record(kind: type[T], config: object, **computed: Any) -> T:
    """Return the record with the configuration's values under the same field names, but for computed ones.

    Raises:
        AttributeError: a field is neither computed nor in the configuration.
    """
    values = {name: computed[name] if name in computed else getattr(config, name) for name in get_type_hints(kind)}
    return from_dict(kind, to_dict(values))


def resolve_hardware(job: JobConfig) -> HardwareSpec:
    """Return the device to measure on, checked against this machine.

    Raises:
        UsageError: the device is not here, the configuration describes another machine, or a processor is none that
            this process may use.
    """
    hardware = job.hardware
    here = machine.describe()
    _check_match(hardware, here)
    device = _device(hardware, here)
    cpus = parse_cpus(hardware.cpus)
    if cpus:
        _check_cpus(cpus)
    described = here.processor(str(device))
    threads = hardware.threads or (machine.cpus.usable_cores(cpus) if cpus else here.threads)
    usable = len(cpus or machine.cpus.allowed() or ()) or here.logical_cores
    if threads > usable:
        line = "hardware.threads=%d: more than the %d processors of this job; threads that wait for each other are slow"
        logging.getLogger("almaflow").warning(line, threads, usable)
    limits = configured_limits(hardware)
    if limits is None:
        calibration = calibrated_here(described, threads)
        limits = calibration.limits if calibration else None
    return _record(
        HardwareSpec,
        hardware,
        name=hardware.name or described,
        device=str(device),
        threads=threads,
        description=hardware.description or described,
        cpus=cpus,
        limits=limits,
    )


def describe_hardware(job: JobConfig) -> HardwareSpec:
    """Return the machine that a configuration describes, for predictions: it need not be this one.

    Raises:
        UsageError: it describes this machine, and asks for what is not here.
    """
    hardware = job.hardware
    if obstacle(hardware) is None:
        return resolve_hardware(job)
    device = "cpu" if hardware.device is Device.cpu else "cuda"
    return _record(
        HardwareSpec,
        hardware,
        name=hardware.name or hardware.description or device,
        device=device,
        threads=hardware.threads or 1,
        cpus=None,
        limits=configured_limits(hardware),
    )


def resolve_learnt(job: JobConfig, hardware: HardwareSpec) -> dict[str, LearnedCosts]:
    """Return the costs that ``almaflow calibrate`` learnt on the configured machine, by their source.

    Raises:
        UsageError: the configuration has something else there.
    """
    if job.hardware.learnt:
        try:
            return learnt_from(job.hardware.learnt)
        except (ClassValidationError, KeyError, TypeError, AttributeError) as error:
            message = f"hardware={hardware.name}: its learnt is not what almaflow calibrate writes; calibrate it again"
            raise UsageError(message) from error
    if obstacle(job.hardware) is not None:
        return {}
    calibration = calibrated_here(machine.describe().processor(hardware.device), hardware.threads)
    return calibration.learnt if calibration else {}


def configured_limits(hardware: HardwareConfig) -> Limits | None:
    """Return the limits of the machine that its configuration states; None where it states none."""
    limits = _record(Limits, hardware.limits)
    return None if limits == Limits() else limits


def obstacle(hardware: HardwareConfig) -> str | None:
    """Return why a job with this configuration cannot run on this machine; None where it can."""
    here = machine.describe()
    return _mismatch(hardware, here) or (_no_cuda(here) if hardware.device is Device.cuda else None)


def _mismatch(hardware: HardwareConfig, here: machine.Machine) -> str | None:
    gpu = here.gpus[0].name if here.gpus else None
    for kind, pattern, actual in (("CPU", hardware.cpu_match, here.cpu), ("GPU", hardware.gpu_match, gpu)):
        if pattern and not (actual and re.search(pattern, actual, re.IGNORECASE)):
            return f"this machine's {kind} is {actual}" if actual else f"this machine has no NVIDIA {kind}"
    return None


def _check_match(hardware: HardwareConfig, here: machine.Machine) -> None:
    if mismatch := _mismatch(hardware, here):
        pattern = hardware.cpu_match or hardware.gpu_match
        described = hardware.description or pattern
        message = f"hardware={hardware.name or pattern}: describes {described}; {mismatch}; use hardware=auto here"
        raise UsageError(message)


def _check_cpus(cpus: tuple[int, ...]) -> None:
    allowed = machine.cpus.allowed()
    if allowed is None:
        message = "hardware.cpus: this system binds no process to processors; leave it out"
        raise UsageError(message)
    if refused := [cpu for cpu in cpus if cpu not in allowed]:
        missing = [cpu for cpu in refused if not machine.cpus.exists(cpu)]
        reason = "this machine has no CPU" if missing else "this process may not use CPU"
        message = (
            f"hardware.cpus={format_cpus(cpus)}: {reason} {format_cpus(missing or refused)}; "
            f"choose from {format_cpus(allowed)}"
        )
        raise UsageError(message)


def _device(hardware: HardwareConfig, here: machine.Machine) -> Device:
    if hardware.device is Device.cpu:
        return Device.cpu
    reason = _no_cuda(here)
    if hardware.device is Device.auto:
        return Device.cpu if reason else Device.cuda
    if reason:
        message = f"hardware.device=cuda: {reason}; use hardware=cpu or hardware=auto"
        raise UsageError(message)
    return Device.cuda


def _no_cuda(here: machine.Machine) -> str | None:
    """Return why nothing can run on CUDA here, as far as that shows without importing torch."""
    if not here.gpus:
        return "this machine has no NVIDIA GPU that this process may use"
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return "PyTorch is not installed"
    return f"the installed PyTorch {version} is built for the CPU only" if version.endswith("+cpu") else None
