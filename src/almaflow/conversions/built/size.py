"""How large a converted model is: its file where it has one, else what its parameters and buffers hold."""

from __future__ import annotations

import io
from pathlib import Path

import torch


def file_mb(path: Path | str) -> float:
    """Size of an ONNX file in MB (10^6 bytes), with the weights that may be kept beside it."""
    path = Path(path)
    return sum(each.stat().st_size for each in (path, path.with_name(f"{path.name}.data")) if each.exists()) / 1e6


def module_mb(module: torch.nn.Module) -> float:
    """Size of a module's parameters and buffers in MB; a quantised tensor counts with what it stores.

    What several layers share counts once; buffers that are not saved with the module are held all the same.
    """
    values = [*module.state_dict(keep_vars=True).values(), *module.buffers()]
    return sum(_bytes(value) for value in {id(value): value for value in values}.values()) / 1e6


def _bytes(value: object) -> int:
    if isinstance(value, torch.Tensor):
        flatten = getattr(value, "__tensor_flatten__", None)
        if flatten is not None:  # a wrapper around the tensors that hold integers and scales
            return sum(_bytes(getattr(value, name)) for name in flatten()[0])
        if not value.is_quantized:
            return value.numel() * value.element_size()
    # Packed weights of quantised kernels have no size of their own: it is what saving them takes.
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.tell()
