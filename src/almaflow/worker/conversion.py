"""Run one conversion in a worker: load, convert, first call, check, warm up, and timed rounds on request."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from almaflow.conversions.build import build
from almaflow.conversions.built.model import BuildInputs
from almaflow.models.build import build_bound, flatten_outputs, weights_digest
from almaflow.models.call_form import CallForm
from almaflow.models.settle import restore
from almaflow.records import Measurement, PlannedConversion, WorkerTask
from almaflow.records.protocol import round_request
from almaflow.worker import device as devices
from almaflow.worker.failures import FellBackError, WrongOutputError
from almaflow.worker.fidelity import arithmetic, compare
from almaflow.worker.rounds import Rounds
from almaflow.worker.threads import read_threads, set_threads, threads_per_stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.conversions.converted import ConvertedModel
    from almaflow.models.batches import Batch
    from almaflow.records import Fidelity
    from almaflow.records.protocol import EventWriter
    from almaflow.worker.turns import TurnInbox

KEEPING_SHARE = 10
"""The result file is written again after this many times the time that the last writing took."""


def run_conversion(
    task: WorkerTask,
    events: EventWriter,
    turns: TurnInbox,
    started: float,
    keep: Callable[[Measurement], None],
) -> None:
    """Build, check and time one conversion; call ``keep`` with the measurement so far after each step.

    The worker takes the first round as soon as it is warm, so that there is a figure whatever happens to the job, and
    the others when the parent requests them. A conversion with a wrong output takes only the first, for diagnosis.

    Args:
        task: The task, with a conversion and the path of the reference that the reference worker wrote.
        events: Announces phases to the parent.
        turns: The parent's requests for rounds.
        started: ``time.perf_counter()`` at the start of this process.
        keep: Writes the measurement to disk.

    Raises:
        FellBackError: something else than the conversion's own runtime did the work.
        WrongOutputError: the output is missing or too far from eager's.
    """
    planned = task.conversion
    if planned is None:
        msg = "a measuring worker needs a conversion"
        raise ValueError(msg)
    model, reference = _load(task)
    model.to(planned.device)
    inputs = Inputs(reference["batches"], planned, task)
    baseline_mb = devices.resident_mb()
    devices.reset_peak()
    load_s = time.perf_counter() - started

    synchronize = devices.synchronizer(planned.device)
    with torch.no_grad():
        events.enter("convert")
        begin = time.perf_counter()
        converted = convert(planned, model, inputs, task)
        synchronize()
        convert_s = time.perf_counter() - begin

        events.enter("first call")
        begin = time.perf_counter()
        converted.call(inputs.get(0))
        synchronize()
        first_call_s = time.perf_counter() - begin

        events.enter("check")
        measurement = Measurement(
            samples_ms=(),
            batch_size=task.model.batch_size,
            load_s=load_s,
            convert_s=convert_s,
            first_call_s=first_call_s,
            total_s=time.perf_counter() - started,
            warmup_calls=0,
            stable=False,
            device_actual=planned.device,
            runtime={},
            threads=read_threads(),
            repairs=converted.repairs,
            baseline_memory_mb=baseline_mb,
            model_mb=converted.model_mb(),
        )
        measurement, fault = _check(converted, measurement, inputs, reference["outputs"], planned)
        keep(measurement)
        checked_s = time.perf_counter() - started

        converted.start_counting()
        rounds = Rounds(lambda i: converted.call(inputs.get(i)), synchronize, task, events)
        report = rounds.take(round_request(task.measure, 0))

        def so_far() -> Measurement:
            return replace(
                measurement,
                samples_ms=tuple(rounds.samples_ms),
                rounds=tuple(rounds.rounds),
                device_samples_ms=tuple(rounds.device_samples_ms),
                warmup_calls=rounds.warmup_calls,
                peak_memory_mb=devices.peak_mb(),
                device_memory_mb=devices.device_peak_mb(planned.device),
                total_s=checked_s + rounds.busy_s,
            )

        measurement = so_far()
        keep(measurement)
        if fault:
            events.enter("check")  # the phase that the failure is recorded in
            raise fault
        events.enter("ready", report)
        _take_turns(rounds, events, turns, lambda: keep(so_far()))
        # The runtime may have fallen back or recompiled while it was timed.
        events.enter("check")
        measurement, fault = _add_evidence(converted, so_far(), planned)
        keep(measurement)
        if fault:
            raise fault


def _take_turns(rounds: Rounds, events: EventWriter, turns: TurnInbox, keep: Callable[[], None]) -> None:
    writing_s = written_at = 0.0
    while turn := turns.next():
        report = rounds.take(turn)
        began = time.perf_counter()
        # Many short calls make a long file, and writing it after every round would take longer than the rounds.
        if began - written_at >= KEEPING_SHARE * writing_s:
            keep()
            written_at = time.perf_counter()
            writing_s = written_at - began
        events.enter("ready", report)


def _load(task: WorkerTask) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Return the model with the reference worker's weights, and the reference that it wrote."""
    # Set before anything is compiled: dynamo recompiles for another number of threads.
    set_threads(threads_per_stream(task))
    reference: dict[str, Any] = torch.load(task.reference_path, weights_only=True)
    model = build_bound(task.model, CallForm.from_plain(reference["form"]), reference["batches"][0])
    if weights_digest(model) != task.weights_digest:
        msg = "the model has other weights each time it is built: seed it, or its outputs cannot be compared"
        raise WrongOutputError(msg)
    restore(model, reference["settled"])
    return model, reference


def convert(planned: PlannedConversion, model: torch.nn.Module, inputs: Inputs, task: WorkerTask) -> ConvertedModel:
    """Build the conversion with the task's settings; errors of the converter are not caught."""
    build_inputs = BuildInputs(inputs.batches, task.hardware.threads, task.measure.streams, task.traits)
    return build(planned, model, build_inputs, task.measure.log_level)


def fidelity_of(
    converted: ConvertedModel, inputs: Inputs, references: list[list[torch.Tensor]], planned: PlannedConversion
) -> Fidelity:
    """Compare the outputs with eager's on the same inputs.

    Raises:
        WrongOutputError: There is no output to compare.
    """
    outputs = [_answer(converted.call(inputs.get(i))) for i in range(len(references))]
    return compare(references, outputs, arithmetic(planned.dtype, planned.device))


def _check(
    converted: ConvertedModel,
    measurement: Measurement,
    inputs: Inputs,
    references: list[list[torch.Tensor]],
    planned: PlannedConversion,
) -> tuple[Measurement, Exception | None]:
    """Add the fidelity and the evidence to the measurement, and return it with the fault, if there is one."""
    try:
        fidelity = fidelity_of(converted, inputs, references, planned)
    except WrongOutputError as error:
        return measurement, error
    return _add_evidence(converted, replace(measurement, fidelity=fidelity), planned)


def _add_evidence(
    converted: ConvertedModel, measurement: Measurement, planned: PlannedConversion
) -> tuple[Measurement, Exception | None]:
    """Add to the measurement what the runtime executed, and return it with the fault, if there is one."""
    evidence = converted.evidence()
    measurement = replace(
        measurement,
        runtime=evidence.runtime,
        recompiles=evidence.recompiles,
        device_actual=evidence.device or planned.device,
    )
    fidelity = measurement.fidelity
    if evidence.fell_back:
        return measurement, FellBackError(evidence.fell_back)
    if measurement.device_actual != planned.device:
        return measurement, FellBackError(f"ran on {measurement.device_actual}, not on {planned.device}")
    if fidelity and not fidelity.ok:
        return measurement, WrongOutputError(fidelity.reason)
    return measurement, None


def _answer(output: object) -> list[torch.Tensor]:
    try:
        tensors = flatten_outputs(output)
    except TypeError as error:
        raise WrongOutputError(str(error)) from error
    # Runtimes reuse their output buffers, so each answer is copied before the next call.
    return [tensor.clone() for tensor in tensors]


class Inputs:
    """The batches in the conversion's input type, on its device or copied there inside the call."""

    def __init__(self, host: list[Batch], planned: PlannedConversion, task: WorkerTask) -> None:
        dtype = getattr(torch, planned.input_dtype)
        self._device = torch.device(planned.device)
        self._non_blocking = task.measure.non_blocking
        self._host = [tuple(t.to(dtype) if t.is_floating_point() else t for t in batch) for batch in host]
        if task.measure.pin_memory and planned.device == "cuda":
            self._host = [tuple(t.pin_memory() for t in batch) for batch in self._host]
        self.batches = [self._copy(batch) for batch in self._host]
        self._copy_inside_call = task.measure.include_transfer

    def _copy(self, batch: Batch) -> Batch:
        return tuple(t.to(self._device, non_blocking=self._non_blocking) for t in batch)

    def get(self, index: int) -> Batch:
        """Return the batch for a call; indices beyond the last batch start again at the first."""
        index %= len(self.batches)
        return self._copy(self._host[index]) if self._copy_inside_call else self.batches[index]
