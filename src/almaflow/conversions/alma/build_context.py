"""Define the context that patches of Alma read while it builds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from almaflow.conversions.built.dynamic import DynamicShapes

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from almaflow.conversions.built.float_form import FloatForm
    from almaflow.conversions.built.onnx_sessions import OnnxSessions
    from almaflow.records import PlannedConversion


@dataclass
class AlmaBuild:
    """The conversion that Alma is building, and what the patches record about it."""

    planned: PlannedConversion
    model: torch.nn.Module
    threads: int
    examples: list[Any]
    """Example inputs in the form that the model takes: a tensor, or a tuple of several."""
    calibration: list[Any]
    """What quantisers are calibrated on, in the same form."""
    spreading: bool
    """Whether the converter spreads a tuple over the model's inputs."""
    sessions: OnnxSessions
    """ONNX Runtime sessions on the provider of the planned device."""
    streams: int = 1
    """Number of calls that may run at once."""
    dynamic: DynamicShapes = field(default_factory=DynamicShapes)
    """The dimensions of the inputs that have to keep other sizes possible."""
    runtime: dict[str, str] = field(default_factory=dict)
    """Entries that almaflow's own backends add to ``ExecutionEvidence.runtime``."""
    float_form: FloatForm | None = None
    """The call before quantisation, where building gives one on the way."""
    calibration_batches: int | None = None
    """Number of batches that a quantiser was calibrated on; None where nothing was calibrated."""
    program: torch.export.ExportedProgram | None = None
    """What ``torch.export`` made last."""
    compile_settings: dict[str, Any] = field(default_factory=dict)
    """The keyword arguments of ``torch.compile``."""
    files: tuple[Path, ...] = ()
    """Files of the model that a session was opened on."""

    def has(self, *prefixes: str) -> bool:
        """Whether a step of the conversion begins with one of these prefixes."""
        return any(step.startswith(prefixes) for step in self.planned.steps)
