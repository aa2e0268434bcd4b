"""Operators that nobody executed, and tables of their times."""

from __future__ import annotations

from almaflow.records.operators import Operator, OperatorGraph, OperatorTable, OperatorTensor, OperatorTime

MB = 1_000_000


def tensor(*shape: int, constant: bool = False, dtype: str = "float32") -> OperatorTensor:
    size = 4.0
    for each in shape:
        size *= each
    return OperatorTensor(dtype, shape, constant=constant, bytes=size)


def convolution(channels: int = 64, out: int = 64, side: int = 28, kernel: int = 3, batch: int = 1) -> Operator:
    weight = tensor(out, channels, kernel, kernel, constant=True)
    flops = 2.0 * batch * side**2 * out * channels * kernel**2
    given, made = tensor(batch, channels, side, side), tensor(batch, out, side, side)
    return Operator("conv", "com.microsoft.nchwc:Conv", {"group": 1}, (given, weight), (made,), flops)


def softmax(*shape: int) -> Operator:
    return Operator("softmax", "Softmax", {"axis": -1}, (tensor(*shape),), (tensor(*shape),), 1.0)


def reshape(*shape: int) -> Operator:
    return Operator("reshape", "Reshape", {}, (tensor(*shape),), (tensor(*shape),), is_view=True)


def graph(*operators: Operator) -> OperatorGraph:
    return OperatorGraph("ONNX_CPU", operators)


def table(*times: OperatorTime, **fields: object) -> OperatorTable:
    made = OperatorTable("ONNX_CPU", "cpu", "a CPU", 2, {"onnxruntime": "1.0"})
    for name, value in ({"entries": {each.operator.key: each for each in times}} | fields).items():
        object.__setattr__(made, name, value)
    return made
