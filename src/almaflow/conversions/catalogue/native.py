"""List the conversions that Alma lacks, and what their steps do; ``native`` has a function for each step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.conversions.catalogue.steps import ONNX, SHARED, Step, compose, inductor

if TYPE_CHECKING:
    from almaflow.conversions.catalogue.entry import Conversion

_TORCHAO = ("torchao",)
_OPENVINO = "OpenVINO's own converter and runtime"


def _openvino(does: str, *needs: str, dtype: str | None = None) -> Step:
    return Step(f"{_OPENVINO}, {does}", "openvino", "cpu", ("openvino>=2025.0", *needs), dtype)


STEPS: dict[str, Step] = SHARED | {
    "CHANNELS_LAST": Step("weights and images in channels-last order"),
    "TORCHAO_QUANT_INT8": Step(
        "torchao: linear layers with int8 weights and activations", "torchao", needs=_TORCHAO, dtype="int8"
    ),
    "TORCHAO_QUANT_FP8": Step(
        "torchao: linear layers with float8 weights", "torchao", needs=_TORCHAO, dtype="float8_e4m3fn"
    ),
    "TORCHAO_AUTOQUANT": Step(
        "torchao picks float or int8 per layer by timing it", "torchao_autoquant", needs=_TORCHAO, dtype="int8"
    ),
    "EAGER": Step("PyTorch runs the model", "eager"),
    "COMPILE_INDUCTOR": inductor("mode default"),
    "COMPILE_INDUCTOR_FREEZING": inductor("weights frozen into constants"),
    "AOT_INDUCTOR_PACKAGE": Step("torch.export, compiled ahead of time by AOTInductor into a package", "aot_inductor"),
    "OPENVINO": _openvino("in float32"),
    "OPENVINO_FP16": _openvino("weights stored in float16, float32 arithmetic", dtype="float16"),
    "OPENVINO_BF16": _openvino("bfloat16 arithmetic", dtype="bfloat16"),
    "OPENVINO_INT8": _openvino("int8 by NNCF, calibrated on the example inputs", "nncf", dtype="int8"),
    "ONNX_CPU_INT8_STATIC": Step(
        "ONNX export, ONNX Runtime's static INT8 quantisation (QDQ), calibrated on the model's example inputs",
        "onnx",
        "cpu",
        ONNX,
        "int8",
    ),
    "EXECUTORCH_XNNPACK": Step("an ExecuTorch program, run by XNNPACK", "executorch", "cpu", ("executorch>=1.0",)),
    "TENSORRT": Step("a TensorRT engine built ahead of time", "tensorrt", "cuda", ("torch-tensorrt",)),
}

_NAMES: dict[str, tuple[str, ...]] = {
    "ONNX_CPU_INT8_STATIC": (),
    "OPENVINO": (),
    "OPENVINO_FP16": ("FP16+OPENVINO",),
    "OPENVINO_BF16": ("BF16+OPENVINO",),
    "OPENVINO_INT8": (),
    "CHANNELS_LAST+EAGER": ("CHANNELS_LAST",),
    "CHANNELS_LAST+COMPILE_INDUCTOR_DEFAULT": ("CHANNELS_LAST+COMPILE_INDUCTOR",),
    "BF16+CHANNELS_LAST+EAGER": ("BF16+CHANNELS_LAST",),
    "COMPILE_INDUCTOR_FREEZING": (),
    "BF16+COMPILE_INDUCTOR_FREEZING": (),
    "AOT_INDUCTOR_PACKAGE": (),
    "EXECUTORCH_XNNPACK": (),
    "TORCHAO_QUANT_INT8": (),
    "TORCHAO_QUANT_INT8+COMPILE_INDUCTOR": ("TORCHAO_QUANT_INT8+COMPILE_INDUCTOR_DEFAULT",),
    "TORCHAO_QUANT_FP8": (),
    "TORCHAO_AUTOQUANT": (),
    "TENSORRT": ("EXPORT+TENSORRT",),
    "FP16+TENSORRT": ("TENSORRT_FP16",),
    "BF16+TENSORRT": ("TENSORRT_BF16",),
    "FP16+ONNX_GPU": (),
}
"""Aliases by name."""

NATIVE: tuple[Conversion, ...] = tuple(
    compose(name, STEPS, needs=("torch>=2.7",), engine="native", aliases=aliases) for name, aliases in _NAMES.items()
)
