"""Checks a converted model: its answers against eager's, and what really ran against what its name says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from almaflow.models.outputs import flatten_outputs
from almaflow.models.state import set_generators
from almaflow.worker.failures import FellBackError, WrongOutputError
from almaflow.worker.fidelity import arithmetic, compare

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.conversions.converted import ConvertedModel
    from almaflow.models.batches import Batch
    from almaflow.records import Fidelity, Measurement, PlannedConversion, WorkerTask
    from almaflow.worker.inputs import Inputs

Answers = list[list[torch.Tensor]]

HALVES = ("float16", "bfloat16")

CLEARLY_RIGHT_DB = 35.0
"""SQNR from which on a route in half precision is not compared with eager in the same type: 2% of the signal."""

CAST_MARGIN_DB = 10.0
"""How much noisier than eager in the same type a route may be: runtimes round between other operators than eager."""


@dataclass(frozen=True)
class Reference:
    """What the reference worker found, which conversions are compared with (``models.examine.Examination``)."""

    batches: list[Batch]
    outputs: Answers
    settled: dict[str, torch.Tensor] = field(default_factory=dict)
    """Weights that were settled after they were drawn."""
    sequence: Answers = field(default_factory=list)
    draws: Answers = field(default_factory=list)
    form: dict[str, Any] = field(default_factory=dict)
    """How a batch becomes the arguments of the caller's model: a ``CallForm`` as plain data."""

    def save(self, path: str) -> None:
        """Write it for the other workers."""
        torch.save(vars(self), path)

    @classmethod
    def load(cls, path: str) -> Reference:
        """Read what ``save`` wrote."""
        return cls(**torch.load(path, weights_only=True))


@dataclass(frozen=True)
class Checker:
    """Compares the calls of one conversion with a reference."""

    reference: Reference
    inputs: Inputs
    planned: PlannedConversion
    task: WorkerTask

    def check(self, converted: ConvertedModel, measurement: Measurement) -> tuple[Measurement, Exception | None]:
        """Add the fidelity and the evidence to the measurement, and return it with the fault, if there is one."""
        try:
            fidelity = self.fidelity(converted.call)
        except WrongOutputError as error:
            return measurement, error
        measurement, fault = self.add_evidence(converted, replace(measurement, fidelity=fidelity))
        if fault is None and converted.built.float_form:
            fault = self._fault_of_float_form(converted.built.float_form)
        return measurement, fault

    def fidelity(self, call: Callable[[Batch], object], dtype: str | None = None) -> Fidelity:
        """Compare the outputs with eager's on the same inputs.

        Args:
            call: One forward call on one batch.
            dtype: The arithmetic to judge by; the conversion's own if it is not given.

        Raises:
            WrongOutputError: There is no output to compare.
        """
        references, traits = self.reference, self.task.traits
        asked = arithmetic(coarser(traits.dtype, dtype or self.planned.dtype), self.planned.device)
        outputs = [self._answer(call, i) for i in range(len(references.outputs))]
        found = compare(references.outputs, outputs, asked)
        if not found.ok and references.sequence:
            # The runtime may keep the state itself, where it cannot be put back.
            in_a_row = compare(references.sequence[1:], outputs, asked)
            found = in_a_row if in_a_row.ok else found
        return found

    def _answer(self, call: Callable[[Batch], object], index: int) -> list[torch.Tensor]:
        self.inputs.prepare(index)
        if self.task.traits.random:
            set_generators(self.task.model.seed)
        return answer(call(self.inputs.get(index)))

    def _fault_of_float_form(self, call: Callable[..., object]) -> Exception | None:
        """Compare what a narrow route was made of, at the tolerance of floating point."""
        try:
            found = self.fidelity(lambda batch: call(*batch), "float32")
        except WrongOutputError as error:
            return WrongOutputError(f"already before quantisation: {error}")
        return None if found.ok else WrongOutputError(f"already before quantisation: {found.reason}")

    def fault_of_cast(self, call: Callable[[Batch], object], load: Callable[[], torch.nn.Module]) -> Exception | None:
        """Compare a route in half precision with eager in the same type, where it is too near to its tolerance.

        Rounding costs some models much and others little. An error of a converter that is smaller than the tolerance
        shows where eager with the same rounding is far better.

        Args:
            call: One forward call of the conversion on one batch.
            load: Builds the model once more.
        """
        dtype = self.planned.dtype
        if dtype not in HALVES:
            return None
        first = replace(self, reference=replace(self.reference, outputs=self.reference.outputs[:1], sequence=[]))
        found = first.fidelity(call)
        if found.sqnr_db >= CLEARLY_RIGHT_DB:
            return None
        half = load().to(self.planned.device, getattr(torch, dtype))
        try:
            with torch.no_grad():
                rounded = first.fidelity(lambda batch: half(*_as(batch, dtype)))
        except Exception:  # noqa: BLE001 - eager has no kernel for it in this type: there is nothing to compare with
            return None
        if found.sqnr_db >= rounded.sqnr_db - CAST_MARGIN_DB:
            return None
        return WrongOutputError(
            f"SQNR {found.sqnr_db:.1f} dB where eager in {dtype} keeps {rounded.sqnr_db:.1f} dB: more than rounding"
        )

    def add_evidence(self, converted: ConvertedModel, measurement: Measurement) -> tuple[Measurement, Exception | None]:
        """Add to the measurement what the runtime executed, and return it with the fault, if there is one."""
        evidence, planned = converted.evidence(), self.planned
        measurement = replace(
            measurement,
            runtime=evidence.runtime,
            recompiles=evidence.recompiles,
            device_actual=evidence.device or planned.device,
            notes=tuple(dict.fromkeys((*measurement.notes, *converted.built.notes, *evidence.notes))),
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
        return measurement, None


def _as(batch: Batch, dtype: str) -> Batch:
    return tuple(t.to(getattr(torch, dtype)) if t.is_floating_point() else t for t in batch)


def coarser(*dtypes: str) -> str:
    """Return the type that resolves least; the last of them where none is one of PyTorch's floating types."""
    resolution = {"float64": 2, "float32": 1, "float16": 0, "bfloat16": -1}
    return min(reversed(dtypes), key=lambda dtype: resolution.get(dtype, -2))


def answer(output: Any) -> list[torch.Tensor]:
    """Return copies of the output's tensors, since runtimes reuse their output buffers.

    Raises:
        WrongOutputError: there is no tensor in it.
    """
    try:
        tensors = flatten_outputs(output)
    except TypeError as error:
        raise WrongOutputError(str(error)) from error
    return [tensor.clone() for tensor in tensors]
