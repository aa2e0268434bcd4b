"""Define the inputs and the result of the steps that build a conversion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from almaflow.conversions.built.dynamic import DynamicShapes
from almaflow.conversions.built.evidence import ExecutionEvidence
from almaflow.conversions.built.tensor_outputs import example_of
from almaflow.records import ModelTraits

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from almaflow.conversions.built.tensor_outputs import TensorOutputs
    from almaflow.models.batches import Batch


@dataclass(frozen=True)
class BuildInputs:
    """Example inputs and settings that steps may need."""

    batches: list[Batch]
    """Example inputs on the device in the conversion's types."""
    threads: int
    """Threads that all concurrent calls together may use."""
    streams: int = 1
    """Number of calls that may run at once."""
    traits: ModelTraits = field(default_factory=ModelTraits)
    """What eager calls showed of the model."""
    calibration: list[Batch] = field(default_factory=list)
    """Inputs of ``model.calibration_loader``, like ``batches``; none where there is no such loader."""
    dynamic: DynamicShapes = field(default_factory=DynamicShapes)
    """The dimensions of the inputs that have to keep other sizes possible."""

    @property
    def example(self) -> Batch:
        """A copy of the first batch for an exporter, with no dynamic dimension of the size 1."""
        return example_of(self.dynamic.widened(self.batches[0]))

    @property
    def calibrated_on(self) -> list[Batch]:
        """What quantisers are calibrated on."""
        return self.calibration or self.batches


@dataclass(frozen=True)
class BuiltModel:
    """A forward call, and a function that tells what really ran."""

    forward: Callable[..., Any]
    """The call; it takes the model's inputs one by one."""
    evidence: Callable[[], ExecutionEvidence] = ExecutionEvidence
    """Returns what the runtime reports about its execution; called after the timed calls."""
    file_mb: float | None = None
    """Size of the converted model on disk in MB, where it is a file."""
    model: torch.nn.Module | None = None
    """The module that holds the weights, unless they are in a file."""
    sessions: tuple[Any, ...] = ()
    """ONNX Runtime's sessions, for its profiler."""
    repairs: tuple[str, ...] = ()
    """Names of the repairs of Alma that were applied."""
    float_form: Callable[..., Any] | None = None
    """The call of the same route before it was made narrower, where building it gives one on the way."""
    notes: tuple[str, ...] = ()
    """What the user should know about how it was built, one line each."""
    executable: Any = None
    """What ``forward`` calls, where that tells what it is: a graph module, TorchScript, a compiled model."""
    calibration_batches: int | None = None
    """Batches that a quantiser was calibrated on; None where nothing was calibrated."""
    files: tuple[Path, ...] = ()
    """Files that the runtime opened, the one of the graph first; empty where it runs none."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the runtime was opened with, or the keyword arguments of ``torch.compile``."""
    outputs: TensorOutputs | None = None
    """What was exported, where the runtime returns only the distinct tensors of the model's output."""
    program: torch.export.ExportedProgram | None = None
    """What ``torch.export`` made, where that is what runs or is compiled."""


ModelChange = Callable[["torch.nn.Module", BuildInputs], "torch.nn.Module"]
Backend = Callable[["torch.nn.Module", BuildInputs], BuiltModel]
Witness = Callable[["torch.nn.Module", BuildInputs], ExecutionEvidence]
"""Tells from the changed model whether it is what the step says."""
