"""Checks a converted model: its answers against eager's, and what really ran against what its name says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from almaflow.conversions.built.narrow import untouched
from almaflow.models.call_form import CallForm
from almaflow.models.examine import DRAWS
from almaflow.models.outputs import found_outputs, matched
from almaflow.models.padding import judged_places, unmarked_masks
from almaflow.models.state import set_generators
from almaflow.worker.failures import FellBackError, WrongOutputError
from almaflow.worker.fidelity import Tolerance, arithmetic, coarser, compare, compare_random, tolerance_of
from almaflow.worker.rounding import eased

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.conversions.converted import ConvertedModel
    from almaflow.models.batches import Batch
    from almaflow.models.examine import Answer
    from almaflow.models.outputs import Output
    from almaflow.records import Fidelity, Measurement, PlannedConversion, WorkerTask
    from almaflow.worker.inputs import Inputs


@dataclass(frozen=True)
class Reference:
    """What the reference worker found, which conversions are compared with (``models.examine.Examination``)."""

    batches: list[Batch]
    outputs: list[Answer]
    settled: dict[str, torch.Tensor] = field(default_factory=dict)
    """Weights that were settled after they were drawn."""
    sequence: list[Answer] = field(default_factory=list)
    draws: list[Answer] = field(default_factory=list)
    form: dict[str, Any] = field(default_factory=dict)
    """How a batch becomes the arguments of the caller's model: a ``CallForm`` as plain data."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """The parameters of the model's call: the fields of ``Parameters``."""
    scores: dict[str, Any] = field(default_factory=dict)
    """Eager's scores on labelled samples, where they were asked for: the fields of ``evaluate.Scores``."""
    sized: list[tuple[dict[str, int], Batch, Answer]] = field(default_factory=list)
    """Sizes other than the example's, each with a batch and eager's answer to it; empty where all sizes are fixed."""

    @property
    def call_form(self) -> CallForm:
        """How a batch becomes arguments: by position where nothing else was saved."""
        return CallForm.from_plain(self.form) if self.form else CallForm.flat(len(self.batches[0]))

    def save(self, path: str) -> None:
        """Write it for the other workers."""
        torch.save(vars(self), path)

    @classmethod
    def load(cls, path: str) -> Reference:
        """Read what ``save`` wrote."""
        return cls(**torch.load(path, weights_only=True))


def calibration_path(task: WorkerTask) -> Path:
    """Return the file with the batches of ``model.calibration_loader``, beside the reference."""
    return Path(task.reference_path).with_name("calibration.pt")


@dataclass(frozen=True)
class Checker:
    """Compares the calls of one conversion with a reference."""

    reference: Reference
    inputs: Inputs
    planned: PlannedConversion
    task: WorkerTask
    load: Callable[[], torch.nn.Module] | None = None
    """Builds the model once more, for a comparison with eager in the conversion's type; None: there is none."""

    def check(self, converted: ConvertedModel, measurement: Measurement) -> tuple[Measurement, Exception | None]:
        """Add the fidelity and the evidence to the measurement, and return it with the fault, if there is one."""
        try:
            fidelity = self.judged(converted.call)
        except WrongOutputError as error:
            return measurement, error
        measurement, fault = self.add_evidence(converted, replace(measurement, fidelity=fidelity))
        if fault is None and converted.built.float_form:
            fault = self._fault_of_float_form(converted.built.float_form)
        return measurement, fault

    def judged(self, call: Callable[[Batch], object]) -> Fidelity:
        """Compare the outputs with eager's, by what rounding costs the model where they are below the tolerance.

        Raises:
            WrongOutputError: There is no output to compare.
        """
        found = self.fidelity(call)
        return found if found.ok else eased(self, call, found)

    def fidelity(
        self, call: Callable[[Batch], object], dtype: str | None = None, least_db: float | None = None
    ) -> Fidelity:
        """Compare the outputs with eager's on the same inputs.

        Args:
            call: One forward call on one batch.
            dtype: The arithmetic to judge by; the conversion's own if it is not given.
            least_db: The SQNR to ask for; that of the arithmetic if it is not given.

        Raises:
            WrongOutputError: There is no output to compare.
        """
        reference = self.reference
        asked = self._arithmetic(dtype)
        tolerance = tolerance_of(asked)
        tolerance = tolerance if least_db is None else replace(tolerance, least_db=least_db)
        outputs = [self.output(call, i) for i in range(len(reference.outputs))]
        found = self._compare(reference.outputs, outputs, tolerance)
        if not found.ok and reference.sequence:
            # The runtime may keep the state itself, where it cannot be put back.
            in_a_row = self._compare(reference.sequence[1:], outputs, tolerance)
            found = in_a_row if in_a_row.ok else found
        if not found.ok and reference.draws:
            draws = [self.output(call, 0, seeded=False) for _ in range(DRAWS)]
            pairs = [matched(*each) for each in zip(reference.draws, draws, strict=True)]
            found = compare_random([ref for ref, _ in pairs], [out for _, out in pairs], asked)
        hint = None if found.ok else unmarked_masks(self.task.model, reference.call_form, reference.batches[0])
        return replace(found, reason=f"{found.reason}; {hint}") if hint else found

    @property
    def tolerance(self) -> Tolerance:
        """What is asked of the conversion's outputs."""
        return tolerance_of(self._arithmetic())

    def _arithmetic(self, dtype: str | None = None) -> str:
        coarsest = coarser(self.task.traits.dtype, dtype or self.planned.dtype)
        return arithmetic(coarsest, self.planned.device)

    def _compare(self, references: list[Answer], outputs: list[list[Output]], tolerance: Tolerance) -> Fidelity:
        """Compare answers to the batches in their order."""
        pairs = [matched(*each) for each in zip(references, outputs, strict=True)]
        form, model = self.reference.call_form, self.task.model
        judged = [judged_places(model, form, batch) for batch in self.reference.batches[: len(pairs)]]
        return compare(
            [ref for ref, _ in pairs],
            [out for _, out in pairs],
            tolerance,
            judged=[each for each in judged if each is not None] or None,
            batch_sizes=[model.batch_size] * len(pairs),
        )

    def output(self, call: Callable[[Batch], object], index: int, *, seeded: bool = True) -> list[Output]:
        """Return copies of the output's tensors on the CPU, since runtimes reuse their output buffers.

        Raises:
            WrongOutputError: there is no tensor in it, and eager gives one.
        """
        self.inputs.prepare(index)
        if self.task.traits.random and seeded:
            set_generators(self.task.model.seed)
        output = call(self.inputs.get(index))
        found = [each._replace(tensor=each.tensor.clone()) for each in found_outputs(output)]
        if not found and self.reference.outputs[index]:
            message = f"the output is a {type(output).__name__} without a tensor in it"
            raise WrongOutputError(message)
        return found

    def _fault_of_float_form(self, call: Callable[..., object]) -> Exception | None:
        """Compare what a narrow route was made of, at the tolerance of floating point."""
        try:
            found = self.fidelity(lambda batch: call(*batch), "float32")
        except WrongOutputError as error:
            return WrongOutputError(f"already before quantisation: {error}")
        finally:
            getattr(call, "close", lambda: None)()  # it may hold a second model
        return None if found.ok else WrongOutputError(f"already before quantisation: {found.reason}")

    def add_evidence(self, converted: ConvertedModel, measurement: Measurement) -> tuple[Measurement, Exception | None]:
        """Add to the measurement what the runtime executed, and return it with the fault, if there is one."""
        self.inputs.prepare(0)  # evidence may take a call
        evidence, planned = converted.evidence(), self.planned
        measurement = replace(
            measurement,
            runtime=evidence.runtime,
            recompiles=evidence.recompiles,
            device_actual=evidence.device or planned.device,
            notes=tuple(dict.fromkeys((*_notes_of(measurement.fidelity), *converted.built.notes, *evidence.notes))),
            narrow_weights_share=evidence.narrow_weights_share,
            narrow_work_share=evidence.narrow_work_share,
            outside_share=evidence.outside_share,
        )
        fidelity = measurement.fidelity
        if evidence.fell_back:
            return measurement, FellBackError(evidence.fell_back)
        if measurement.device_actual != planned.device:
            return measurement, FellBackError(f"ran on {measurement.device_actual}, not on {planned.device}")
        if fidelity and not fidelity.ok:
            return measurement, WrongOutputError(fidelity.reason)
        doubt = untouched(evidence, fidelity, planned) if fidelity else None
        return measurement, FellBackError(doubt) if doubt else None


def _notes_of(fidelity: Fidelity | None) -> tuple[str, ...]:
    return fidelity.notes if fidelity else ()
