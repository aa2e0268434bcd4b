"""ONNX Runtime sessions as a deployer makes them: as many threads as asked, and every input fed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnxruntime


def open_session(path: Path | str, provider: str, threads: int) -> onnxruntime.InferenceSession:
    """A session on one provider, with ``threads`` threads inside an operator and none between operators."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), sess_options=options, providers=[provider])


def feed(session: onnxruntime.InferenceSession) -> Callable[[Any], list[Any]]:
    """A forward call that takes a tensor or a tuple of tensors and returns NumPy arrays."""
    names = [value.name for value in session.get_inputs()]

    def forward(data: Any) -> list[Any]:
        tensors = data if isinstance(data, tuple) else (data,)
        return list(session.run(None, {n: t.cpu().numpy() for n, t in zip(names, tensors, strict=True)}))

    return forward
