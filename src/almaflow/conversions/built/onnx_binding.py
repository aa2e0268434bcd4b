"""Run ONNX Runtime sessions on the memory of tensors: nothing is copied, and types that NumPy lacks work."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

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

TYPES = {
    "tensor(float)": torch.float32,
    "tensor(uint8)": torch.uint8,
    "tensor(int8)": torch.int8,
    "tensor(int16)": torch.int16,
    "tensor(int32)": torch.int32,
    "tensor(int64)": torch.int64,
    "tensor(bool)": torch.bool,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
    "tensor(bfloat16)": torch.bfloat16,
}
"""Types by the names that sessions give them."""


def binds_types(session: Any) -> bool:
    """Whether a session takes or returns a type that NumPy lacks."""
    return any(value.type == "tensor(bfloat16)" for value in (*session.get_inputs(), *session.get_outputs()))


class BoundCall:
    """A forward call that runs a session on tensors of any strides, and returns tensors of their own memory."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.input_names = [value.name for value in session.get_inputs()]
        self.outputs = [(value.name, TYPES[value.type], _fixed(value.shape)) for value in session.get_outputs()]

    def __call__(self, *inputs: torch.Tensor) -> list[torch.Tensor]:
        binding = self.session.io_binding()
        held = [_plain(tensor).contiguous() for tensor in inputs]  # until the run is over: only addresses are bound
        for name, tensor in zip(self.input_names, held, strict=True):
            binding.bind_input(name, *_address(tensor))
        device = held[0].device if held else torch.device("cpu")
        room: list[torch.Tensor | None] = []
        for name, dtype, shape in self.outputs:
            output = None if shape is None else torch.empty(shape, dtype=dtype, device=device)
            # Memory of no bytes has no address, and what has no fixed size is allocated by the runtime.
            known = output is not None and output.numel() > 0
            where = _address(output) if known and output is not None else ("cpu", 0)
            binding.bind_output(name, *where)
            room.append(output)
        if device.type == "cuda":  # the runtime has a stream of its own
            torch.cuda.current_stream(device).synchronize()
        self.session.run_with_iobinding(binding)
        if any(output is None for output in room):
            values = binding.get_outputs()
            return [
                _copied(value).to(device) if output is None else output
                for value, output in zip(values, room, strict=True)
            ]
        return [output for output in room if output is not None]


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return complex numbers as pairs, as ONNX has them; everything else as it is."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _address(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Return a tensor's device, the number of that, type, shape and address."""
    device, shape = tensor.device, list(tensor.shape)
    return device.type, device.index or 0, ELEMENT_TYPES[tensor.dtype], shape, tensor.data_ptr()


def _fixed(shape: Sequence[Any]) -> tuple[int, ...] | None:
    """Return the shape of an output; None where its size depends on the inputs."""
    return tuple(shape) if all(isinstance(size, int) for size in shape) else None


def _copied(value: Any) -> torch.Tensor:
    """Copy an output on the CPU that the runtime has allocated."""
    dtype, shape = TYPES[value.data_type()], value.shape()
    if 0 in shape:
        return torch.empty(shape, dtype=dtype)
    size = dtype.itemsize * torch.Size(shape).numel()
    memory = (ctypes.c_char * size).from_address(value.data_ptr())
    return torch.frombuffer(memory, dtype=dtype).clone().reshape(shape)
