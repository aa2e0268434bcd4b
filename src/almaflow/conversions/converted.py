"""A converted model as the worker calls it and asks it, whoever built it."""

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
    """A built model, with what its runtime's traits say about it."""

    built: BuiltModel
    traits: RuntimeTraits
    _graphs_before: int = 0

    @property
    def repairs(self) -> tuple[str, ...]:
        """Names of the repairs that were applied to get it."""
        return self.built.repairs

    def call(self, batch: Batch) -> Any:
        """One forward call on one batch."""
        return self.built.forward(*batch)

    def model_mb(self) -> float | None:
        """Size of the converted model in MB (10^6 bytes); None where nothing tells."""
        if self.built.file_mb is not None:
            return self.built.file_mb
        return module_mb(self.built.model) if self.built.model is not None else None

    def start_counting(self) -> None:
        """From here on a newly compiled graph is a recompile."""
        self._graphs_before = dynamo_graphs() if self.traits.dynamo else 0

    def evidence(self) -> ExecutionEvidence:
        """What really executed, as far as the runtimes tell."""
        found = [dynamo_evidence(self._graphs_before)] if self.traits.dynamo else []
        found.append(self.built.evidence())
        if self.traits.replaces_weights and self.built.model is not None:
            found.append(weights_evidence(self.built.model))
        return together(found)
