"""Define the converted model that the worker calls, whichever builder made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from almaflow.conversions.built.evidence import dynamo_evidence, dynamo_graphs, together, weights_evidence
from almaflow.conversions.built.size import module_mb

if TYPE_CHECKING:
    from almaflow.conversions.built.evidence import ExecutionEvidence
    from almaflow.conversions.built.model import BuiltModel
    from almaflow.models.batches import Batch
    from almaflow.records.plan import RuntimeTraits


@dataclass
class ConvertedModel:
    """A built model with the traits of its runtime."""

    built: BuiltModel
    traits: RuntimeTraits
    _graphs_before: int = 0

    @property
    def repairs(self) -> tuple[str, ...]:
        """Names of the repairs that were applied while it was built."""
        return self.built.repairs

    def call(self, batch: Batch) -> Any:
        """Call the model once on a batch."""
        return self.built.forward(*batch)

    def model_mb(self) -> float | None:
        """Return the size of the converted model in MB (10^6 bytes); None if it is unknown."""
        if self.built.file_mb is not None:
            return self.built.file_mb
        return module_mb(self.built.model) if self.built.model is not None else None

    def start_counting(self) -> None:
        """Count each graph that is compiled from now on as a recompile."""
        self._graphs_before = dynamo_graphs() if self.traits.dynamo else 0

    def evidence(self) -> ExecutionEvidence:
        """Return what really executed, as far as the runtimes tell."""
        parts = [dynamo_evidence(self._graphs_before)] if self.traits.dynamo else []
        parts.append(self.built.evidence())
        if self.traits.replaces_weights and self.built.model is not None:
            parts.append(weights_evidence(self.built.model))
        return together(parts)
