"""Define the converted model that the worker calls, whichever builder made it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_leaves, tree_unflatten

from almaflow.conversions.built.breaks import breaks_evidence
from almaflow.conversions.built.evidence import ExecutionEvidence, dynamo_evidence, dynamo_graphs, together
from almaflow.conversions.built.narrow import CASTS, cast_evidence, is_narrow, narrow_note, replaced_evidence
from almaflow.conversions.built.quantised_graphs import graph_evidence
from almaflow.conversions.built.size import module_mb
from almaflow.conversions.built.witnesses import executable_evidence
from almaflow.models.work import FloatModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from almaflow.conversions.built.model import BuiltModel
    from almaflow.models.batches import Batch
    from almaflow.records import PlannedConversion
    from almaflow.records.plan import RuntimeTraits


@dataclass
class ConvertedModel:
    """A built model with the traits of its runtime."""

    built: BuiltModel
    traits: RuntimeTraits
    planned: PlannedConversion | None = None
    example: Batch | None = None
    """A batch for calls that look at what runs; None where nobody may call the model."""
    before: FloatModel | None = None
    """The structure of the model before it was converted."""
    _graphs_before: int = 0
    _seen: dict[int, ExecutionEvidence] = field(default_factory=dict)
    """What one look at the weights and the work showed, by the number of compiled graphs then."""

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

    @contextmanager
    def not_counted(self) -> Iterator[None]:
        """Count no graph that is compiled within the block."""
        before = dynamo_graphs() if self.traits.dynamo else 0
        try:
            yield
        finally:
            self._graphs_before += (dynamo_graphs() if self.traits.dynamo else 0) - before

    def evidence(self) -> ExecutionEvidence:
        """Return what really executed, as far as the runtimes tell.

        The first time, and again where graphs were compiled since, this calls the model.
        """
        parts = [dynamo_evidence(self._graphs_before)] if self.traits.dynamo else []
        parts.append(self.built.evidence())
        graphs = dynamo_graphs() if self.traits.dynamo else 0
        if graphs not in self._seen:
            self._seen[graphs] = self._look()
        # First, since dynamo and the runtimes know why something fell back.
        found = together([self._seen[graphs], *parts])
        if self.planned is None:
            return found
        if not is_narrow(self.planned.dtype):  # shares are of what a narrow name made narrow
            return replace(found, narrow_weights_share=None, narrow_work_share=None)
        return replace(found, notes=(*found.notes, *narrow_note(found, self.planned.dtype)))

    def _look(self) -> ExecutionEvidence:
        """Look at the weights that the converted model has, and at what a call dispatches."""
        model, planned, example = self.built.model, self.planned, self.example
        runs = self.built.executable
        parts = []
        if self.traits.dynamo and model is not None and example is not None and dynamo_graphs():
            parts.append(breaks_evidence(self.built.forward, model, example))
        if planned is not None:
            parts.append(executable_evidence(planned.steps, runs))
        if self.traits.quantises_graph and isinstance(runs, torch.fx.GraphModule) and example is not None:
            parts.append(graph_evidence(runs, taken(runs, example), self.before))
        elif self.traits.replaces_weights and model is not None:
            dtype = planned.dtype if planned else "int8"
            parts.append(replaced_evidence(model, dtype, self.before))
        elif planned is not None and model is not None and CASTS & set(planned.steps):
            structure = FloatModel(model, example) if example is not None else None
            parts.append(cast_evidence(model, planned.dtype, structure))
        return together(parts)


def taken(graph: torch.fx.GraphModule, example: Batch) -> tuple[Any, ...]:
    """Return the inputs as the graph takes them: one by one, or several in one tuple."""
    placeholders = sum(node.op == "placeholder" for node in graph.graph.nodes)
    return example if placeholders == len(example) and not _packs(graph) else (example,)


def _packs(graph: torch.fx.GraphModule) -> bool:
    spec = getattr(graph, "_in_spec", None)
    if spec is None:
        return False
    taken, _ = tree_unflatten([0] * spec.num_leaves, spec)
    return len(taken) == 1 and len(tree_leaves(taken[0])) > 1
