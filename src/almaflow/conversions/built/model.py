"""What passes between the steps that build a conversion, and what comes out of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from almaflow.conversions.built.evidence import ExecutionEvidence

if TYPE_CHECKING:
    import torch

    from almaflow.models.batches import Batch


@dataclass(frozen=True)
class BuildInputs:
    """Example inputs and settings that steps may need."""

    batches: list[Batch]
    """On the device, cast as the conversion takes them; also what quantisers are calibrated on."""
    threads: int
    """That all calls together may use."""
    streams: int = 1
    """How many calls may be made at once."""


@dataclass(frozen=True)
class BuiltModel:
    """A forward call, and who can say what really ran."""

    forward: Callable[..., Any]
    """Takes the model's inputs one by one."""
    evidence: Callable[[], ExecutionEvidence] = ExecutionEvidence
    """What the runtime says of itself; asked after the timed calls."""
    file_mb: float | None = None
    """Size of the converted model on disk in MB, where it is a file."""
    model: torch.nn.Module | None = None
    """What holds the weights, where it is no file."""
    sessions: tuple[Any, ...] = ()
    """ONNX Runtime's, for its profiler."""
    repairs: tuple[str, ...] = ()
    """Names of the repairs of Alma that were applied."""


ModelChange = Callable[["torch.nn.Module", BuildInputs], "torch.nn.Module"]
Backend = Callable[["torch.nn.Module", BuildInputs], BuiltModel]
