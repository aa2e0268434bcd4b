"""Compile with inductor, and watch whether weights were frozen into constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch

from almaflow.conversions.built.evidence import ExecutionEvidence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass
class FreezingWatch:
    """Inductor as a backend of torch.compile, with a count of the weights that each graph gets as inputs.

    Buffers that the graph changes are inputs by necessity and do not count.
    """

    graphs: int = 0
    constants: int = 0
    inputs: int = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
        """Compile a graph, as ``backend="inductor"`` does."""
        from torch._inductor.compile_fx import compile_fx, compile_fx_inner

        def count_and_compile(module: torch.fx.GraphModule, given: Sequence[Any], **settings: Any) -> Any:
            placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
            static = [placeholders[index] for index in settings.get("static_input_idxs") or ()]
            self.graphs += 1
            self.constants += sum(node.op == "get_attr" for node in module.graph.nodes)
            self.inputs += sum(not _is_changed(node) for node in static)
            return compile_fx_inner(module, given, **settings)

        compiled: Any = compile_fx(graph, inputs, inner_compile=count_and_compile)
        return cast("Callable[..., Any]", compiled)

    def evidence(self) -> ExecutionEvidence:
        """Return how many weights are constants, and whether some are not."""
        runtime = {"frozen_weights": str(self.constants), "weights_as_inputs": str(self.inputs)}
        fell_back = None
        if self.inputs:
            fell_back = f"{self.inputs} weights were passed to the compiled graph as inputs: they are not frozen"
        elif not self.constants and self.graphs:
            fell_back = "no weight was frozen: the compiled graphs have none"
        return ExecutionEvidence(runtime, fell_back)


def _is_changed(node: torch.fx.Node) -> bool:
    """Whether a graph writes to one of its inputs."""
    copies = (torch.ops.aten.copy_.default, torch.ops.aten.set_.source_Tensor)
    return any(user.target in copies and user.args[0] is node for user in node.users)
