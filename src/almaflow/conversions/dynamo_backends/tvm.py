"""Provide a torch.compile backend that runs each graph in TVM, untuned, through its importer of exported programs.

PyTorch's own backend uses TVM's FX importer, which knows fewer operations, takes no graph of torch.export and no half
precision.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.dlpack import from_dlpack

from almaflow.conversions.dynamo_backends.graphs import HALVES, InFloat32, computes_in, examples_like

if TYPE_CHECKING:
    from collections.abc import Callable

ALIGNMENT = 64
"""Bytes. TVM's kernels read vectors, and it refuses memory that does not begin at a multiple of this."""


@dataclass
class Tvm:
    """The torch.compile backend."""

    threads: int
    runtime: dict[str, str] = field(default_factory=dict)
    """Entries that the backend adds to ``ExecutionEvidence.runtime``."""

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., list[torch.Tensor]]:
        """Export the graph, whose weights are attributes of it, import and compile it for this CPU.

        Raises:
            Exception: the graph has an operation that TVM does not know.
        """
        os.environ["TVM_NUM_THREADS"] = str(self.threads)  # read when TVM's runtime is loaded
        import tvm
        from tvm import relax
        from tvm.relax.frontend.torch import from_exported_program

        # The importer gives convolutions of half types a float32 output, which the operations after them reject (0.27).
        module: torch.nn.Module = graph
        if computes_in(graph, *HALVES):
            module, self.runtime["computes_in"] = InFloat32(graph), "float32"
        with torch.no_grad():
            exported = torch.export.export(module.eval(), examples_like(inputs), strict=False)
        imported = from_exported_program(exported, keep_params_as_input=False)
        target = tvm.target.Target({"kind": "llvm", "mcpu": tvm.target.codegen.llvm_get_system_cpu()})
        program = tvm.compile(imported, target=target)
        machines = threading.local()  # a machine serves one call at a time

        def call(*tensors: torch.Tensor) -> list[torch.Tensor]:
            arguments = [tvm.runtime.from_dlpack(aligned(tensor.detach())) for tensor in tensors]
            if not hasattr(machines, "main"):
                machines.main = relax.VirtualMachine(program, tvm.cpu())["main"]
            return [from_dlpack(output) for output in machines.main(*arguments)]

        return call


def aligned(tensor: torch.Tensor) -> torch.Tensor:
    """Return a contiguous tensor in memory that TVM takes: a copy, unless it is so already."""
    plain = tensor.contiguous()
    return plain.clone() if plain.data_ptr() % ALIGNMENT else plain  # PyTorch aligns what it allocates
