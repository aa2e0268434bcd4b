"""Measure a converted model: the size of its file if it has one, else of its parameters and buffers."""

from __future__ import annotations

import io
from pathlib import Path

import torch


def file_mb(path: Path | str) -> float:
    """Return the size of a model file in MB (10^6 bytes), with the weights that ONNX may keep beside it."""
    path = Path(path)
    files = (path, path.with_name(f"{path.name}.data"))
    return sum(file.stat().st_size for file in files if file.exists()) / 1e6


def module_mb(module: torch.nn.Module) -> float:
    """Return the size of a module's parameters and buffers in MB; a quantised tensor counts with what it stores.

    A tensor that several layers share counts once. Buffers that are not saved with the module count too.
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
    # Packed weights of quantised kernels do not tell their size: count the bytes that saving them takes.
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.tell()
