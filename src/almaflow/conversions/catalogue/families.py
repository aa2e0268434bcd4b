"""List the families of conversions: one row for each runtime, with all that differs between runtimes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from almaflow.conversions.catalogue import requirements
from almaflow.records.plan import UNKNOWN
from almaflow.records.plan import RuntimeTraits as Traits

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.conversions.catalogue.requirements import Obstacle

TOOLCHAIN = "almaflow.worker.toolchain"
"""The server that has it among its modules finds out about the C++ compiler, once for all workers."""

INDUCTOR = ("torch._dynamo", "torch._inductor.compile_fx", "torch._inductor.codegen.cpp")
COMPILES = (*INDUCTOR, TOOLCHAIN)
EXPORT = ("torch.export._trace", "torch._functorch.partitioners")
"""What torch.export imports when it is called for the first time."""
ONNX = ("onnxscript", "torch.onnx._internal.exporter._core", "onnxruntime", "onnxruntime.quantization")
OPENVINO = (*INDUCTOR, "openvino", "openvino.torch")
EXECUTORCH = ("executorch.backends.xnnpack.quantizer.xnnpack_quantizer",)
"""The module of XNNPACK's quantiser, which imports most of ExecuTorch."""
_BACKEND = "its torch.compile backend takes graphs of fixed sizes only; take {instead}"
_ENGINE = "its engine is built for the sizes of the example"


@dataclass(frozen=True)
class Family:
    """The traits of a runtime, and what it needs besides packages."""

    traits: Traits = UNKNOWN
    check: Callable[[str], Obstacle | None] | None = None
    """Returns what is missing besides packages on a device."""
    label: str | None = None
    """The family's name for users, if several rows share one."""
    fixed_sizes: str | None = None
    """Why its converted models take no other sizes than the example's; None: they can, where the model can."""


PLAIN = Family(Traits(fuses_elementwise=False))
"""PyTorch runs one kernel for each operation."""

FAMILIES: dict[str, Family] = {
    "eager": PLAIN,
    "export": Family(Traits(preload=EXPORT, fuses_elementwise=False)),
    "torchscript": PLAIN,
    "inductor": Family(Traits((), COMPILES, "inductor", "quick deploy", dynamo=True), requirements.inductor),
    "cudagraphs": Family(
        Traits((), INDUCTOR, recommended_for="quick deploy", dynamo=True),
        fixed_sizes="a CUDA graph replays calls of one size",
    ),
    "aot_inductor": Family(Traits(preload=COMPILES), requirements.cpp_compiler),
    "onnx": Family(
        Traits(("onnxruntime",), (*EXPORT, *ONNX), "onnxruntime", "cross-platform", keeps_memory=True),
        requirements.onnxruntime_on,
    ),
    "onnxrt": Family(
        Traits(("onnxruntime",), (*INDUCTOR, *ONNX), "onnxruntime", dynamo=True),
        requirements.onnxruntime_on,
        fixed_sizes=_BACKEND.format(instead="ONNX_CPU"),
    ),
    "openvino": Family(
        Traits(("openvino", "nncf"), (*EXPORT, "openvino"), "openvino", "Intel hardware", keeps_memory=True)
    ),
    "compiled_openvino": Family(
        Traits(("openvino", "nncf"), OPENVINO, recommended_for="Intel hardware", dynamo=True, keeps_memory=True),
        label="openvino",
        fixed_sizes=_BACKEND.format(instead="OPENVINO"),
    ),
    "tensorrt": Family(Traits(("tensorrt",)), fixed_sizes=_ENGINE),
    "compiled_tensorrt": Family(Traits(("tensorrt",), INDUCTOR, dynamo=True), label="tensorrt", fixed_sizes=_ENGINE),
    "tvm": Family(
        Traits(("tvm",), INDUCTOR, dynamo=True),
        requirements.torch_tvm,
        fixed_sizes=_BACKEND.format(instead="AOT_INDUCTOR_PACKAGE"),
    ),
    "xla": Family(Traits(preload=INDUCTOR, dynamo=True), fixed_sizes="XLA compiles anew for each size"),
    "executorch": Family(
        Traits(("executorch",), (*EXPORT, *EXECUTORCH)),
        fixed_sizes="ExecuTorch plans the program's memory for the sizes of the example",
    ),
    "pt2e": Family(
        Traits(("torchao",), (*EXPORT, *EXECUTORCH), quantises_graph=True),
        fixed_sizes="Alma exports it with fixed sizes before it quantises; take ONNX_CPU_INT8_STATIC or OPENVINO_INT8",
    ),
    "fx": Family(Traits(preload=EXPORT, quantises_graph=True)),
    "fake_fx": Family(Traits(preload=EXPORT, emulated=True, quantises_graph=True), label="fx"),
    "quanto": Family(Traits(("quanto",), replaces_weights=True)),
    "torchao": Family(Traits(("torchao",), replaces_weights=True)),
    "torchao_autoquant": Family(
        Traits(("torchao",), replaces_weights=True, picks_by_timing=True),
        requirements.torchao_autoquant,
        label="torchao",
    ),
}
"""Families by the name that a step gives. ``traits.runtimes`` are distributions or names in ``machine.environment``."""
