"""Sessions are bound to the addresses of tensors, and so has to be held what is there."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from almaflow.conversions.built.onnx_binding import BoundCall
from almaflow.conversions.built.onnx_sessions import input_names, input_positions

SIZE = 4096


class Session:
    """Adds one to its only input, read from the address that was bound, after much else was allocated."""

    def __init__(self) -> None:
        self.others: list[torch.Tensor] = []

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="x")]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="y", type="tensor(float)", shape=[SIZE // 2, 2])]

    def io_binding(self) -> Any:
        bound: dict[str, int] = {}
        return SimpleNamespace(
            bound=bound,
            bind_input=lambda name, *rest: bound.update({name: rest[-1]}),
            bind_output=lambda name, *rest: bound.update({name: rest[-1]}),
        )

    def run_with_iobinding(self, binding: Any) -> None:
        self.others = [torch.full((SIZE,), -1.0) for _ in range(50)]
        given, result = ((ctypes.c_float * SIZE).from_address(binding.bound[name]) for name in "xy")
        for index, value in enumerate(given):
            result[index] = value + 1


@pytest.mark.slow  # importing torch takes seconds
def test_inputs_that_are_not_contiguous_are_held_until_the_run_is_over() -> None:
    strided = torch.arange(float(SIZE)).reshape(2, SIZE // 2).T
    (output,) = BoundCall(Session())(strided)
    assert torch.equal(output, strided + 1)


def test_inputs_are_known_by_name_where_the_export_dropped_some() -> None:
    names = input_names(3)
    assert input_positions(names) == [0, 1, 2]
    assert input_positions([names[0], names[2]]) == [0, 2]
    assert input_positions(["ids", "mask"]) == [0, 1]
