"""Run one conversion in a worker: load, convert, first call, check, on request timed rounds, at last evaluate it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from almaflow.conversions.build import build
from almaflow.conversions.built.dynamic import DynamicShapes
from almaflow.conversions.built.model import BuildInputs
from almaflow.conversions.built.narrow import is_narrow
from almaflow.models.batches import copied
from almaflow.models.build import build_bound, weights_digest
from almaflow.models.dynamic import axes_of
from almaflow.models.settle import restore
from almaflow.models.sources import changed_sources
from almaflow.models.state import ModelState
from almaflow.records import Measurement, PlannedConversion, WorkerTask
from almaflow.records.kept_rounds import KeptRound, keep_round
from almaflow.records.protocol import EVALUATE, KEEPING, SHOWING, round_request
from almaflow.worker import device as devices
from almaflow.worker.batch_search import found_batch
from almaflow.worker.check import Checker, Reference, calibration_path
from almaflow.worker.evaluate import evaluated
from almaflow.worker.failures import WrongOutputError
from almaflow.worker.graphs import write_graphs
from almaflow.worker.inputs import Inputs
from almaflow.worker.keeping import keep_model
from almaflow.worker.rounding import fault_of_cast
from almaflow.worker.rounds import Rounds
from almaflow.worker.sizes import OtherSizes
from almaflow.worker.stopwatch import Stopwatch
from almaflow.worker.threads import read_threads, set_compile_jobs, set_threads, threads_per_stream
from almaflow.worker.tracing import frozen_decisions_raise

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.conversions.converted import ConvertedModel
    from almaflow.models.dynamic import Axes
    from almaflow.records.protocol import EventWriter, RoundReport, RoundRequest
    from almaflow.worker.turns import TurnInbox


def run_conversion(
    task: WorkerTask,
    events: EventWriter,
    turns: TurnInbox,
    started: float,
    keep: Callable[[Measurement], None],
) -> None:
    """Build, check and time one conversion; call ``keep`` with the measurement so far after each step.

    Up to the check other workers may do the same. Then it waits for the first request, when nothing else runs: it warms
    up and takes the first round, so that there is a figure whatever happens to the job. It takes the others when the
    parent requests them. A conversion with a wrong output takes only the first, for diagnosis.

    Args:
        task: The task, with a conversion and the path of the reference that the reference worker wrote.
        events: Announces phases to the parent.
        turns: The parent's requests for rounds.
        started: ``time.perf_counter()`` at the start of this process.
        keep: Writes the measurement to disk.

    Raises:
        FellBackError: something else than the conversion's own runtime did the work.
        WrongOutputError: the output is missing or too far from eager's.
        Exception: what a converter or runtime raises.
    """
    planned = task.conversion
    if planned is None:
        msg = "a measuring worker needs a conversion"
        raise ValueError(msg)
    run = _Run(task, planned, events, started, keep)
    with torch.no_grad():
        run.build()
        fault = run.check()
        events.enter("prepared")
        directed = turns.next() is not None
        report = run.begin()
        if fault:
            events.enter("check")  # the phase that the failure is recorded in
            raise fault
        run.time_sizes()
        run.search_batch()
        events.enter("ready", report)
        if directed:
            run.take_turns(turns)
        run.check_evidence()
        if turns.keep:
            run.keep_model()
        run.evaluate()
        run.show_graphs()


class _Run:
    """The steps of one conversion, and its measurement so far."""

    def __init__(
        self,
        task: WorkerTask,
        planned: PlannedConversion,
        events: EventWriter,
        started: float,
        keep: Callable[[Measurement], None],
    ) -> None:
        self._task, self._planned, self._events, self._started, self._keep = task, planned, events, started, keep
        self._synchronize = devices.synchronizer(planned.device)

    def build(self) -> None:
        """Load the model, convert it, and make the first call."""
        task, planned = self._task, self._planned
        model, reference = _load(task)
        model.to(planned.device)
        if task.traits.caches:
            # A converter is to find them made, as one that runs after a first call in deployment does.
            model(*(tensor.to(planned.device) for tensor in copied(reference.batches[0])))
        state = ModelState(model) if task.traits.keeps_state else None
        self._inputs = Inputs(reference.batches, planned, task, state)
        self._state = state
        self._checker = Checker(reference, self._inputs, planned, task, lambda: _load(task)[0])
        self._sizes = OtherSizes(self._checker)
        baseline_mb = devices.resident_mb()
        devices.reset_peak()
        load_s = time.perf_counter() - self._started

        self._events.enter("convert")
        stopwatch = Stopwatch()
        axes = axes_of(task.model, reference.call_form.names, reference.batches[0])
        self._converted = convert(planned, model, self._inputs, task, axes)
        self._synchronize()
        convert_s, convert_cpu_s = stopwatch.read()

        self._events.enter("first call")
        self._inputs.prepare(0)
        stopwatch = Stopwatch()
        self._call(0)
        self._synchronize()
        first_call_s, first_call_cpu_s = stopwatch.read()
        self._measurement = Measurement(
            samples_ms=(),
            batch_size=task.model.batch_size,
            load_s=load_s,
            convert_s=convert_s,
            first_call_s=first_call_s,
            convert_cpu_s=convert_cpu_s,
            first_call_cpu_s=first_call_cpu_s,
            total_s=time.perf_counter() - self._started,
            warmup_calls=0,
            stable=False,
            device_actual=planned.device,
            runtime={},
            threads=read_threads(),
            repairs=self._converted.repairs,
            baseline_memory_mb=baseline_mb,
            model_mb=self._converted.model_mb(),
            calibration_samples=self._calibration_samples(),
        )
        self._peak_mb = devices.peak_mb()

    def _calibration_samples(self) -> int | None:
        batches = self._converted.built.calibration_batches
        return None if batches is None else batches * self._task.model.batch_size

    def _call(self, index: int) -> object:
        return self._converted.call(self._inputs.get(index))

    def check(self) -> Exception | None:
        """Compare the outputs with eager's, and return the fault, if there is one."""
        self._events.enter("check")
        self._measurement, fault = self._checker.check(self._converted, self._measurement)
        fault = fault or self._sizes.check(self._converted)
        devices.reset_peak()  # the check's own copies of outputs are not the conversion's
        self._keep(self._measurement)
        self._checked_s = time.perf_counter() - self._started
        return fault

    def begin(self) -> RoundReport:
        """Warm up, and take the first round."""
        self._converted.start_counting()
        self._rounds = Rounds(self._call, self._synchronize, self._task, self._events, self._inputs.prepare)
        report = self._take(round_request(self._task.measure, 0))
        self._keep_rounds()
        return report

    def time_sizes(self) -> None:
        """Take the calls at further sizes, after the first round and before others may have their turns."""
        if sizes := self._sizes.time(self._converted, self._synchronize, self._events):
            self._measurement = replace(self._measurement, sizes=sizes)
            self._keep(self._measurement)

    def search_batch(self) -> None:
        """Search for the batch at which throughput stops growing, where that is asked for, in the first process."""
        search, task = self._task.model.search, self._task
        if search and task.replicate == 0:
            found = found_batch(search, self._checker, self._converted, self._synchronize, self._events)
            self._measurement = replace(self._measurement, search=found)
            self._keep(self._measurement)

    def _take(self, turn: RoundRequest) -> RoundReport:
        """Take a round, and keep it at once: the measurement as a whole is written at the end only."""
        rounds = self._rounds
        before = len(rounds.device_samples_ms)
        report = rounds.take(turn)
        kept = KeptRound(
            round=rounds.rounds[-1],
            samples_ms=tuple(rounds.samples_ms[-report.count :]),
            device_samples_ms=tuple(rounds.device_samples_ms[before:]),
            total_s=self._checked_s + rounds.busy_s,
            peak_memory_mb=self._highest_mb(),
            device_memory_mb=devices.device_peak_mb(self._planned.device),
        )
        keep_round(self._task.work_dir, kept)
        return report

    def _highest_mb(self) -> float | None:
        return max((mb for mb in (self._peak_mb, devices.peak_mb()) if mb is not None), default=None)

    def _keep_rounds(self) -> None:
        rounds = self._rounds
        self._measurement = replace(
            self._measurement,
            samples_ms=tuple(rounds.samples_ms),
            rounds=tuple(rounds.rounds),
            device_samples_ms=tuple(rounds.device_samples_ms),
            warmup_calls=rounds.warmup_calls,
            peak_memory_mb=self._highest_mb(),
            device_memory_mb=devices.device_peak_mb(self._planned.device),
            total_s=self._checked_s + rounds.busy_s,
        )
        self._keep(self._measurement)

    def take_turns(self, turns: TurnInbox) -> None:
        """Take the rounds that the parent requests."""
        while turn := turns.next():
            self._events.enter("ready", self._take(turn))

    def check_evidence(self) -> None:
        """Look again at what ran: the runtime may have fallen back or recompiled while it was timed."""
        self._events.enter("check")
        self._keep_rounds()
        self._measurement, fault = self._checker.add_evidence(self._converted, self._measurement)
        self._keep(self._measurement)
        # At the end, since it mostly builds the model once more: memory and latencies are taken by now.
        fault = fault or fault_of_cast(self._checker, self._converted.call, self._measurement.fidelity)
        if fault:
            raise fault

    def evaluate(self) -> None:
        """Give the converted model figures of quality on labelled samples, when nobody is timed any more."""
        if self._task.evaluate is None:
            return
        self._events.enter(EVALUATE)
        found = evaluated(self._task.evaluate, self._checker, self._converted, self._state)
        self._measurement = replace(self._measurement, **found)
        self._keep(self._measurement)

    def show_graphs(self) -> None:
        """Write the graphs to the worker's directory, where the log is to have everything; nothing comes after it."""
        if self._task.measure.log_level == "DEBUG":
            self._events.enter(SHOWING)
            self._inputs.prepare(0)
            write_graphs(Path(self._task.work_dir), self._converted, self._inputs.get(0))

    def keep_model(self) -> None:
        """Write the converted model to the worker's directory; what was measured stands whatever becomes of it."""
        self._events.enter(KEEPING)
        self._measurement = keep_model(self._checker, self._converted, self._measurement)
        self._keep(self._measurement)


def _load(task: WorkerTask) -> tuple[torch.nn.Module, Reference]:
    """Return the model with the reference worker's weights, and the reference that it wrote."""
    # Set before anything is compiled: dynamo recompiles for another number of threads.
    set_threads(threads_per_stream(task))
    set_compile_jobs(task.compile_jobs)
    reference = Reference.load(task.reference_path)
    model = build_bound(task.model, reference.call_form, reference.batches[0])
    if weights_digest(model) != task.weights_digest:
        msg = "the model has other weights each time it is built: seed it, or its outputs cannot be compared"
        raise WrongOutputError(msg)
    if changed := changed_sources(task.sources):
        msg = f"the model's code changed while the job ran: {', '.join(changed[:5])}; run the job again"
        raise WrongOutputError(msg)
    restore(model, reference.settled)
    return model, reference


def convert(
    planned: PlannedConversion, model: torch.nn.Module, inputs: Inputs, task: WorkerTask, axes: Axes = ()
) -> ConvertedModel:
    """Build the conversion with the task's settings; errors of the converter are not caught."""
    calibration = []
    if task.model.calibration_loader and is_narrow(planned.dtype):
        calibration = Inputs(torch.load(calibration_path(task), weights_only=True), planned, task).batches
    dynamic = DynamicShapes(axes, task.model.dynamic)
    build_inputs = BuildInputs(
        inputs.batches, task.hardware.threads, task.measure.streams, task.traits, calibration, dynamic
    )
    with frozen_decisions_raise(task.traits):
        return build(planned, model, build_inputs, task.measure.log_level)


def __getattr__(name: str) -> object:
    """Return what scripts of earlier jobs import from here."""
    from almaflow.moved import of_the_worker

    return of_the_worker(name)
