"""What a worker does for one conversion: load, convert, first call, warm up, measure, check."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from almaflow.conversions.adapter import Converted, build
from almaflow.measure import device as devices
from almaflow.measure.failures import FellBackError, WrongOutputError
from almaflow.measure.fidelity import compare
from almaflow.measure.threads import read_threads, set_threads
from almaflow.measure.timing import STABLE_IQR_OVER_MEDIAN, measure
from almaflow.models.build import build_model, flatten_outputs, weights_digest
from almaflow.models.settle import restore
from almaflow.records import Measurement, PlannedConversion, WorkerTask
from almaflow.stats import summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.measure.events import EventWriter

Batch = tuple[torch.Tensor, ...]


def run_conversion(
    task: WorkerTask,
    events: EventWriter,
    started: float,
    keep: Callable[[Measurement], None],
) -> None:
    """Build, time and check one conversion; ``keep`` is called with all that is known after each step.

    Args:
        task: With a conversion, and the reference that the preparing worker wrote.
        events: Where phases are announced.
        started: ``time.perf_counter()`` of the start of this process.
        keep: Writes the measurement to disk.

    Raises:
        FellBackError: something else than the conversion's own runtime did the work.
        WrongOutputError: the output is missing or too far from eager's.
    """
    planned = task.conversion
    if planned is None:
        msg = "a measuring worker needs a conversion"
        raise ValueError(msg)
    set_threads(task.hardware.threads)
    model = build_model(task.model)
    if weights_digest(model) != task.weights_digest:
        msg = "the model has other weights each time it is built: seed it, or its outputs cannot be compared"
        raise WrongOutputError(msg)
    reference = torch.load(task.reference_path, weights_only=True)
    restore(model, reference["settled"])
    model.to(planned.device)
    inputs = _Inputs(reference["batches"], planned, task)
    baseline_mb = devices.resident_mb()
    devices.reset_peak()
    load_s = time.perf_counter() - started

    synchronize = devices.synchronizer(planned.device)
    with torch.no_grad():
        events.enter("convert")
        begin = time.perf_counter()
        converted = build(planned, model, inputs.batches, task)
        synchronize()
        convert_s = time.perf_counter() - begin

        events.enter("first call")
        begin = time.perf_counter()
        converted.call(inputs.get(0))
        synchronize()
        first_call_s = time.perf_counter() - begin

        events.enter("warm-up")
        converted.start_counting()
        timing = measure(
            lambda i: converted.call(inputs.get(i)), synchronize, task.measure, lambda: events.enter("measure")
        )
        statistics = summary(timing.samples_ms)
        measurement = Measurement(
            samples_ms=timing.samples_ms,
            batch_size=task.model.batch_size,
            load_s=load_s,
            convert_s=convert_s,
            first_call_s=first_call_s,
            total_s=time.perf_counter() - started,
            warmup_calls=timing.warmup_calls,
            stable=timing.complete and statistics.iqr <= STABLE_IQR_OVER_MEDIAN * statistics.median,
            device_actual=planned.device,
            runtime={},
            threads=read_threads(),
            repairs=converted.repairs,
            peak_memory_mb=devices.peak_mb(),
            baseline_memory_mb=baseline_mb,
            device_memory_mb=devices.device_peak_mb(planned.device),
            notes=() if timing.complete else ("measure.max_time_s ended before the minimum count",),
        )
        keep(measurement)
        events.enter("check")
        _check(converted, measurement, inputs, reference["outputs"], planned, keep, started)


def _check(  # noqa: PLR0913, PLR0917 - one step, cut off for its length only
    converted: Converted,
    measurement: Measurement,
    inputs: _Inputs,
    references: list[list[torch.Tensor]],
    planned: PlannedConversion,
    keep: Callable[[Measurement], None],
    started: float,
) -> None:
    outputs = [_answer(converted.call(inputs.get(i))) for i in range(len(references))]
    evidence = converted.evidence()
    fidelity = compare(references, outputs, planned.dtype)
    measurement = replace(
        measurement,
        fidelity=fidelity,
        runtime=evidence.runtime,
        recompiles=evidence.recompiles,
        device_actual=evidence.device or planned.device,
        total_s=time.perf_counter() - started,
    )
    keep(measurement)
    if evidence.fell_back:
        raise FellBackError(evidence.fell_back)
    if measurement.device_actual != planned.device:
        msg = f"ran on {measurement.device_actual}, not on {planned.device}"
        raise FellBackError(msg)
    if not fidelity.ok:
        raise WrongOutputError(fidelity.reason)


def _answer(output: object) -> list[torch.Tensor]:
    try:
        tensors = flatten_outputs(output)
    except TypeError as error:
        raise WrongOutputError(str(error)) from error
    # Runtimes reuse their output buffers, so each answer is copied before the next call.
    return [tensor.clone() for tensor in tensors]


class _Inputs:
    """The batches as the conversion takes them: cast, on its device, or copied there inside the call."""

    def __init__(self, host: list[Batch], planned: PlannedConversion, task: WorkerTask) -> None:
        dtype = getattr(torch, planned.input_dtype)
        self._device = torch.device(planned.device)
        self._non_blocking = task.measure.non_blocking
        self._host = [tuple(t.to(dtype) if t.is_floating_point() else t for t in batch) for batch in host]
        if task.measure.pin_memory and planned.device == "cuda":
            self._host = [tuple(t.pin_memory() for t in batch) for batch in self._host]
        self.batches = [self._copy(batch) for batch in self._host]
        self._inside = task.measure.include_transfer

    def _copy(self, batch: Batch) -> Batch:
        return tuple(t.to(self._device, non_blocking=self._non_blocking) for t in batch)

    def get(self, index: int) -> Batch:
        index %= len(self.batches)
        return self._copy(self._host[index]) if self._inside else self.batches[index]
