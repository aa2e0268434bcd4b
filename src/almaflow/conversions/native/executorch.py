"""Build ExecuTorch programs, which run on phones and other small devices."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from almaflow.conversions.built.evidence import ExecutionEvidence
from almaflow.conversions.built.layout import takes_turns
from almaflow.conversions.built.model import BuiltModel
from almaflow.conversions.built.size import file_mb
from almaflow.conversions.built.tensor_outputs import TensorOutputs, example_of

if TYPE_CHECKING:
    from almaflow.conversions.built.model import Backend, BuildInputs


def executorch_xnnpack(model: torch.nn.Module, work: BuildInputs) -> BuiltModel:
    """Export, delegate to XNNPACK what it takes, and run the program in ExecuTorch's own runtime."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    example = tuple(tensor.contiguous() for tensor in example_of(work.batches[0]))
    wrapped = TensorOutputs(model)
    exported = torch.export.export(wrapped, example, strict=False)
    program = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    calls = [node.target for node in program.exported_program().graph.nodes if node.op == "call_function"]
    names = [getattr(target, "__name__", str(target)) for target in calls]
    delegated = names.count("executorch_call_delegate")
    outside = sorted({name for name in names if name not in {"executorch_call_delegate", "getitem"}})
    path = Path("model.pte")
    path.write_bytes(program.to_executorch().buffer)
    answers = len(exported.graph_signature.user_outputs)
    methods = threading.local()  # a method serves one call at a time, and methods of one program share memory
    methods.current = _loaded(path)

    def forward(*inputs: torch.Tensor) -> list[Any]:
        if not hasattr(methods, "current"):
            methods.current = _loaded(path)
        # The runtime does not read strides. It returns inputs that the model changed before the model's own outputs.
        return list(methods.current.execute([tensor.contiguous() for tensor in inputs])[-answers:])

    def evidence() -> ExecutionEvidence:
        runtime = {"xnnpack_partitions": str(delegated), "xnnpack_operations_outside": ",".join(outside)}
        return ExecutionEvidence(runtime, None if delegated else "XNNPACK took nothing of the model", "cpu")

    notes = takes_turns("ExecuTorch", work.streams)
    return BuiltModel(
        wrapped.restored(forward), evidence, file_mb(path), notes=notes, files=(path.absolute(),), outputs=wrapped
    )


def _loaded(path: Path) -> Any:
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(path).load_method("forward")
    if method is None:
        message = "ExecuTorch made a program without a forward method"
        raise RuntimeError(message)
    return method


RUNS: dict[str, Backend] = {"EXECUTORCH_XNNPACK": executorch_xnnpack}
