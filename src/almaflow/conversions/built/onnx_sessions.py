"""Open ONNX Runtime sessions as in deployment: with the configured threads, and every input fed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from almaflow.conversions.built.evidence import ExecutionEvidence, onnx_evidence
from almaflow.conversions.built.size import file_mb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnxruntime

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


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


def feed(session: onnxruntime.InferenceSession) -> Callable[[Any], list[Any]]:
    """Return a forward call that takes a tensor or a tuple of tensors and returns NumPy arrays."""
    names = [value.name for value in session.get_inputs()]

    def forward(data: Any) -> list[Any]:
        tensors = data if isinstance(data, tuple) else (data,)
        return list(session.run(None, {n: t.cpu().numpy() for n, t in zip(names, tensors, strict=True)}))

    return forward
