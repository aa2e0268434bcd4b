"""What passes between the steps of a conversion that is built here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from almaflow.conversions.evidence import ExecutionEvidence

Batch = tuple[torch.Tensor, ...]


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


ModelChange = Callable[[torch.nn.Module, BuildInputs], torch.nn.Module]
Backend = Callable[[torch.nn.Module, BuildInputs], BuiltModel]
