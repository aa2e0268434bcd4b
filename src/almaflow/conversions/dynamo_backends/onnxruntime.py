"""Provide a torch.compile backend that runs each graph in ONNX Runtime; PyTorch has dropped its own."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses import FakeTensorMode

from almaflow.conversions.built.onnx_binding import BoundCall
from almaflow.conversions.built.onnx_sessions import CPU, input_names, input_positions, weights_outside
from almaflow.conversions.built.tensor_outputs import TensorOutputs
from almaflow.conversions.dynamo_backends.graphs import InFloat32, computes_in, examples_like

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from almaflow.conversions.built.onnx_sessions import OnnxSessions


@dataclass
class OnnxRuntime:
    """The torch.compile backend."""

    sessions: OnnxSessions
    """Opens one session for each graph."""
    runtime: dict[str, str] = field(default_factory=dict)
    """Entries that the backend adds to ``ExecutionEvidence.runtime``."""

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Sequence[Any]]:
        """Export the graph, whose weights are attributes of it, and open a session on it.

        Raises:
            Exception: the graph has an operation that the exporter or ONNX Runtime does not know.
        """
        examples = examples_like(inputs)
        # ONNX Runtime has no bfloat16 kernels for CPUs; for float16 it computes in float32 by itself.
        module: torch.nn.Module = graph
        if self.sessions.provider == CPU and computes_in(graph, torch.bfloat16):
            module, self.runtime["computes_in"] = InFloat32(graph), "float32"
        with torch.no_grad(), tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "graph.onnx")
            exported = TensorOutputs(module.eval(), examples)
            names, outside = input_names(len(examples)), weights_outside(exported)
            torch.onnx.export(exported, examples, str(path), input_names=names, dynamo=True, external_data=outside)
            session = self.sessions.open(path)
        return exported.restored(_Call(session, _output_types(exported, examples)))


class _Call:
    """A forward call that runs a session on a graph's inputs."""

    def __init__(self, session: Any, types: Sequence[torch.dtype]) -> None:
        self.positions = input_positions([value.name for value in session.get_inputs()])
        self.run = BoundCall(session)
        self.types = types

    def __call__(self, *inputs: torch.Tensor) -> list[torch.Tensor]:
        outputs = self.run(*[inputs[position] for position in self.positions])
        return [
            torch.view_as_complex(output) if dtype.is_complex else output
            for output, dtype in zip(outputs, self.types, strict=True)
        ]


def _output_types(module: torch.nn.Module, examples: Sequence[torch.Tensor]) -> list[torch.dtype]:
    """Return the types of a module's outputs without running it, since that could change its buffers."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        return [output.dtype for output in module(*[mode.from_tensor(example) for example in examples])]
