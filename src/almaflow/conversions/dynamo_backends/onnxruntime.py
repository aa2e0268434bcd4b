"""A torch.compile backend that hands each graph to ONNX Runtime. PyTorch had one of its own and has dropped it.

Inputs and outputs are bound by their addresses: nothing is copied, and types that NumPy lacks pass.
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
"""``onnx.TensorProto.DataType``."""


@dataclass
class OnnxRuntime:
    """The backend."""

    sessions: OnnxSessions
    """Opens one for each graph."""
    found: dict[str, str] = field(default_factory=dict)
    """What it found out about its work."""

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., list[torch.Tensor]]:
        """Export the graph, whose weights are its own attributes, and open a session on it.

        Raises:
            Exception: the graph has an operation that the exporter or ONNX Runtime does not know.
        """
        examples = examples_like(inputs)
        # ONNX Runtime has no bfloat16 kernels for CPUs; for float16 it computes in float32 by itself.
        module: torch.nn.Module = graph
        if self.sessions.provider == CPU and computes_in(graph, torch.bfloat16):
            module, self.found["computes_in"] = InFloat32(graph), "float32"
        with torch.no_grad(), tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "graph.onnx")
            torch.onnx.export(module.eval(), examples, str(path), dynamo=True, external_data=False)
            session = self.sessions.open(path)
            outputs = module(*examples)
        return _Call(session, outputs if isinstance(outputs, tuple | list) else [outputs])


class _Call:
    """Runs a session on the tensors themselves."""

    def __init__(self, session: Any, outputs: Sequence[torch.Tensor]) -> None:
        """Take a session, and what it returns for an example."""
        self.session = session
        self.inputs = [each.name for each in session.get_inputs()]
        self.outputs = [each.name for each in session.get_outputs()]
        self.like = outputs

    def __call__(self, *inputs: torch.Tensor) -> list[torch.Tensor]:
        """One forward call."""
        binding = self.session.io_binding()
        made = [torch.empty_like(each, memory_format=torch.contiguous_format) for each in self.like]
        for name, tensor in zip(self.inputs, [each.contiguous() for each in inputs], strict=True):
            binding.bind_input(name, *_place(tensor))
        for name, tensor in zip(self.outputs, made, strict=True):
            binding.bind_output(name, *_place(tensor))
        self.session.run_with_iobinding(binding)
        return made


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Device, its number, type, shape and address."""
    device, shape = tensor.device, list(tensor.shape)
    return device.type, device.index or 0, ELEMENT_TYPES[tensor.dtype], shape, tensor.data_ptr()
