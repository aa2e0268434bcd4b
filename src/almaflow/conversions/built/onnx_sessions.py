"""Open ONNX Runtime sessions as in deployment: with the configured threads, and every input fed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from almaflow.conversions.built.evidence import ExecutionEvidence, onnx_evidence
from almaflow.conversions.built.onnx_binding import BoundCall, binds_types
from almaflow.conversions.built.size import file_mb, module_mb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnxruntime
    import torch

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

SINGLE_FILE_MB = 1500.0
"""Weights of more MB are kept beside the ONNX file: protobuf takes no file of 2 GB or more, and graphs grow in it."""

_INPUT = "input_"


def weights_outside(model: torch.nn.Module) -> bool:
    """Whether the weights of a model are too large for one ONNX file."""
    return module_mb(model) > SINGLE_FILE_MB


def input_names(count: int) -> list[str]:
    """Return the names that exports give to a model's inputs, from which ``feed`` knows their positions."""
    return [f"{_INPUT}{position}" for position in range(count)]


@dataclass
class OnnxSessions:
    """Opens sessions on one provider, and keeps them."""

    provider: str
    threads: int
    """Threads inside an operator; operators run one after another."""
    opened: list[onnxruntime.InferenceSession] = field(default_factory=list)
    file_mb: float | None = None
    """Size in MB of the files that the sessions were opened on; None before the first."""

    def open(self, path: Path | str) -> onnxruntime.InferenceSession:
        """Open a session on an ONNX file; the file may be deleted afterwards."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), sess_options=options, providers=[self.provider])
        self.opened.append(session)
        self.file_mb = (self.file_mb or 0.0) + file_mb(path)
        return session

    def evidence(self) -> ExecutionEvidence:
        """Return the provider and threads of the first session; empty evidence if none was opened."""
        return onnx_evidence(self.opened[0], self.provider) if self.opened else ExecutionEvidence()


def files_of(path: Path) -> tuple[Path, ...]:
    """Return an ONNX file, and the one with its weights where they are beside it."""
    return tuple(each for each in (path.absolute(), path.absolute().with_name(f"{path.name}.data")) if each.exists())


def feed(session: onnxruntime.InferenceSession) -> Callable[[Any], list[Any]]:
    """Return a forward call that takes a tensor or a tuple of tensors.

    It returns NumPy arrays, or tensors where the session has a type that NumPy lacks. An input that the export dropped
    because nothing uses it is not fed.
    """
    names = [value.name for value in session.get_inputs()]
    positions = input_positions(names)
    bound = BoundCall(session) if binds_types(session) else None

    def forward(data: Any) -> list[Any]:
        given = data if isinstance(data, tuple) else (data,)
        tensors = [given[position].detach().cpu() for position in positions]
        if bound:
            return bound(*tensors)
        return list(session.run(None, {n: t.resolve_neg().numpy() for n, t in zip(names, tensors, strict=True)}))

    return forward


def input_positions(names: list[str]) -> list[int]:
    """Return the position of each input of a session among the model's, by name where the export named them."""
    if all(name.startswith(_INPUT) and name.removeprefix(_INPUT).isdigit() for name in names):
        return [int(name.removeprefix(_INPUT)) for name in names]
    return list(range(len(names)))
