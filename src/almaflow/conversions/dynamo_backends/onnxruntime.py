"""Provide a torch.compile backend that runs each graph in ONNX Runtime; PyTorch has dropped its own.

Inputs and outputs are bound by their addresses: nothing is copied, and types that NumPy lacks work.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from almaflow.conversions.built.onnx_sessions import CPU
from almaflow.conversions.dynamo_backends.graphs import InFloat32, computes_in, examples_like

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from almaflow.conversions.built.onnx_sessions import OnnxSessions

ELEMENT_TYPES = {
    torch.float32: 1,
    torch.uint8: 2,
    torch.int8: 3,
    torch.int16: 5,
    torch.int32: 6,
    torch.int64: 7,
    torch.bool: 9,
    torch.float16: 10,
    torch.float64: 11,
    torch.bfloat16: 16,
}
"""Numbers of ``onnx.TensorProto.DataType``."""


@dataclass
class OnnxRuntime:
    """The torch.compile backend."""

    sessions: OnnxSessions
    """Opens one session for each graph."""
    runtime: dict[str, str] = field(default_factory=dict)
    """Entries that the backend adds to ``ExecutionEvidence.runtime``."""

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., list[torch.Tensor]]:
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
            torch.onnx.export(module.eval(), examples, str(path), dynamo=True, external_data=False)
            session = self.sessions.open(path)
            outputs = module(*examples)
        return _Call(session, outputs if isinstance(outputs, tuple | list) else [outputs])


class _Call:
    """A forward call that runs a session on tensors without copying them."""

    def __init__(self, session: Any, outputs: Sequence[torch.Tensor]) -> None:
        self.session = session
        self.input_names = [value.name for value in session.get_inputs()]
        self.output_names = [value.name for value in session.get_outputs()]
        self.examples = outputs

    def __call__(self, *inputs: torch.Tensor) -> list[torch.Tensor]:
        binding = self.session.io_binding()
        outputs = [torch.empty_like(example, memory_format=torch.contiguous_format) for example in self.examples]
        contiguous = [tensor.contiguous() for tensor in inputs]  # held until the run is over: only addresses are bound
        for name, tensor in zip(self.input_names, contiguous, strict=True):
            binding.bind_input(name, *_binding(tensor))
        for name, tensor in zip(self.output_names, outputs, strict=True):
            binding.bind_output(name, *_binding(tensor))
        self.session.run_with_iobinding(binding)
        return outputs


def _binding(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Return a tensor's device, the number of that, type, shape and address."""
    device, shape = tensor.device, list(tensor.shape)
    return device.type, device.index or 0, ELEMENT_TYPES[tensor.dtype], shape, tensor.data_ptr()
