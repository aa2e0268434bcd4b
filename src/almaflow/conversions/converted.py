"""A converted model: its forward call, what was mended to get it, and what says what really ran."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from almaflow.conversions import evidence as evidences
from almaflow.conversions.alma.patches_runtimes import ONNX_PROVIDERS, openvino_precision
from almaflow.conversions.size import module_mb

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from almaflow.conversions.alma.inputs import (
        Batch,
    )
    from almaflow.records import PlannedConversion


@dataclass
class ConvertedModel:
    """A forward call with what was repaired to get it and who can say what really ran."""

    forward: Callable[[Any], Any]
    planned: PlannedConversion
    repairs: tuple[str, ...] = ()
    session: Any = None
    """The ONNX Runtime session, where there is one."""
    model: torch.nn.Module | None = None
    """The model that was converted, as the conversion left it."""
    witness: Callable[[], evidences.ExecutionEvidence] = evidences.ExecutionEvidence
    """What says of itself what is built here."""
    file_mb: float | None = None
    """Size of the converted model on disk, where it is a file."""
    _graphs_before: int = 0

    def call(self, batch: Batch) -> Any:
        """One forward call on one batch."""
        return self.forward(batch[0] if len(batch) == 1 else batch)

    def model_mb(self) -> float | None:
        """Size of the converted model in MB (10^6 bytes); None where nothing tells."""
        if self.file_mb is not None:
            return self.file_mb
        return module_mb(self.model) if self.model is not None else None

    def start_counting(self) -> None:
        """From here on a newly compiled graph is a recompile."""
        self._graphs_before = evidences.dynamo_graphs() if self._uses_dynamo else 0

    @property
    def _uses_dynamo(self) -> bool:
        return any(step.startswith("COMPILE_") for step in self.planned.steps)

    def evidence(self) -> evidences.ExecutionEvidence:
        """What really executed, as far as the runtimes tell."""
        steps = self.planned.steps
        found = [self.witness()]
        if self.session is not None:
            found.append(evidences.onnx_evidence(self.session, ONNX_PROVIDERS[self.planned.device]))
        if self._uses_dynamo:
            found.append(evidences.dynamo_evidence(self._graphs_before))
        if "COMPILE_OPENVINO" in steps:
            found.append(evidences.openvino_evidence(openvino_precision(self.planned.dtype)))
        if "COMPILE_CUDAGRAPHS" in steps:
            found.append(evidences.cudagraphs_evidence())
        if self.model is not None and any(step.startswith(("OPTIM", "TORCHAO_QUANT_")) for step in steps):
            found.append(evidences.weights_evidence(self.model))
        return evidences.together(found)
