"""What Alma is building, for those who change how it does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from almaflow.conversions.built.onnx_sessions import OnnxSessions
    from almaflow.records import PlannedConversion


@dataclass
class AlmaBuild:
    """What Alma is building, and what the patches keep of it."""

    planned: PlannedConversion
    model: torch.nn.Module
    threads: int
    examples: list[Any]
    """Example inputs as the model takes them: a tensor, or a tuple of several."""
    spreading: bool
    """Whether the converter spreads a tuple over the model's inputs."""
    sessions: OnnxSessions
    """On the device's provider."""
    found: dict[str, str] = field(default_factory=dict)
    """What our own backends found out about their work."""

    def has(self, *beginnings: str) -> bool:
        """Whether a step of the conversion begins so."""
        return any(step.startswith(beginnings) for step in self.planned.steps)
