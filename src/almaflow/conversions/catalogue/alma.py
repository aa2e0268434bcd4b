"""List Alma's conversions: the names in the order of their numbers, and what each of their steps does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.conversions.catalogue.steps import ONNX, SHARED, Step, compose, inductor

if TYPE_CHECKING:
    from almaflow.conversions.catalogue.entry import Conversion

EAGER_FALLBACK = "what cannot be compiled runs eagerly"
AI8WI8 = "PT2E quantisation with XNNPACK's quantiser, "
QUANTO = "quanto: "
CALIBRATED = ", activations int8, calibrated on the example inputs"


def _quanto(does: str, dtype: str) -> Step:
    return Step(QUANTO + does, "quanto", needs=("optimum-quanto",), dtype=dtype)


def _pt2e(does: str) -> Step:
    return Step(AI8WI8 + does, "pt2e", needs=("torchao",), dtype="int8")


STEPS: dict[str, Step] = SHARED | {
    "EAGER": Step("PyTorch runs the model as it is", "eager"),
    "EXPORT": Step("torch.export", "export"),
    "JIT_TRACE": Step("TorchScript by tracing", "torchscript"),
    "TORCH_SCRIPT": Step("TorchScript by compiling the source", "torchscript"),
    "ONNX_CPU": Step("ONNX export, run by ONNX Runtime on the CPU", "onnx", "cpu", ONNX),
    "ONNX": Step("ONNX", "onnx", needs=ONNX),
    # Alma opens the session with the CPU provider, whatever the device.
    "DYNAMO_EXPORT": Step("export through torch.export, run by ONNX Runtime on the CPU", "onnx", "cpu"),
    "COMPILE_CUDAGRAPHS": Step("torch.compile that replays CUDA graphs", "cudagraphs", "cuda"),
    "COMPILE_INDUCTOR_REDUCE_OVERHEAD": inductor("mode reduce-overhead (CUDA graphs where there is a GPU)"),
    "COMPILE_INDUCTOR_MAX_AUTOTUNE": inductor("mode max-autotune", picks_by_timing=True),
    "COMPILE_INDUCTOR_EAGER_FALLBACK": inductor(f"mode default; {EAGER_FALLBACK}"),
    "COMPILE_INDUCTOR_DEFAULT_EAGER_FALLBACK": inductor(f"mode default; {EAGER_FALLBACK}"),
    "AOT_INDUCTOR": Step(
        "compiled ahead of time into a library by AOTInductor",
        "aot_inductor",
        fixed_sizes="Alma compiles it ahead of time for fixed sizes; take AOT_INDUCTOR_PACKAGE",
    ),
    "COMPILE_ONNXRT": Step("torch.compile with ONNX Runtime", "onnxrt", needs=ONNX),
    "COMPILE_OPENXLA": Step("torch.compile with OpenXLA", "xla", "xla", ("torch-xla",)),
    "COMPILE_TVM": Step("torch.compile with TVM, untuned", "tvm", needs=("apache-tvm>=0.25",)),
    "COMPILE_TENSORRT": Step("torch.compile with TensorRT", "compiled_tensorrt", "cuda", ("torch-tensorrt",)),
    "COMPILE_OPENVINO": Step("torch.compile with OpenVINO", "compiled_openvino", "cpu", ("openvino>=2025.0",)),
    "AI8WI8_FLOAT_QUANTIZED": _pt2e("int8 values dequantised before each operation"),
    "AI8WI8_STATIC_QUANTIZED": _pt2e("integer arithmetic in PyTorch's reference operators"),
    "RUN_DECOMPOSITION": Step("exported again and decomposed into core operators"),
    "NATIVE_CONVERT_AI8WI8_STATIC_QUANTIZED": Step(
        "FX graph mode quantisation, int8 kernels, calibrated on the example inputs", "fx", "cpu", dtype="int8"
    ),
    "NATIVE_FAKE_QUANTIZED_AI8WI8_STATIC": Step(
        "FX graph mode fake quantisation: int8 emulated in float32, calibrated on the example inputs",
        "fake_fx",
        dtype="int8",
    ),
    "OPTIMUM_QUANTO_AI8WI8": _quanto("weights int8" + CALIBRATED, "int8"),
    "OPTIMUM_QUANTO_AI8WI4": _quanto("weights int4" + CALIBRATED, "int4"),
    "OPTIMUM_QUANTO_AI8WI2": _quanto("weights int2" + CALIBRATED, "int2"),
    "OPTIMUM_QUANTO_WI8": _quanto("weights int8, float32 arithmetic", "int8"),
    "OPTIMUM_QUANTO_WI4": _quanto("weights int4, float32 arithmetic", "int4"),
    "OPTIMUM_QUANTO_WI2": _quanto("weights int2, float32 arithmetic", "int2"),
    "OPTIMUM_QUANTO_Wf8E4M3N": _quanto("weights float8 (e4m3fn), float32 arithmetic", "float8_e4m3fn"),
    "OPTIMUM_QUANTO_Wf8E4M3NUZ": _quanto("weights float8 (e4m3fnuz), float32 arithmetic", "float8_e4m3fnuz"),
    "OPTIMUM_QUANTO_Wf8E5M2": _quanto("weights float8 (e5m2), float32 arithmetic", "float8_e5m2"),
    # The registry's own spelling.
    "OPTIMIM_QUANTO_Wf8E5M2": _quanto("weights float8 (e5m2), float32 arithmetic", "float8_e5m2"),
    "TORCHAO_AUTOQUANT_DEFAULT": Step(
        "torchao picks float or int8 per layer by timing it", "torchao_autoquant", needs=("torchao",), dtype="int8"
    ),
    "TORCHAO_AUTOQUANT_NONDEFAULT": Step(
        "torchao picks among its int4 kinds per layer by timing it",
        "torchao_autoquant",
        needs=("torchao",),
        dtype="int4",
    ),
    "TORCHAO_QUANT_I4_WEIGHT_ONLY": Step(
        "torchao: weights int4, bfloat16 arithmetic", "torchao", needs=("torchao",), dtype="int4"
    ),
}
"""What each technique in Alma's names does; a technique is the part of a name between two plus signs.

The source is ``alma/conversions/select.py`` and the builders that it calls: some names say something else.
"""

PUBLISHED = "0.3.7"
PUBLISHED_COUNT = 72
"""Conversions with numbers below this are in the published release, the others in Alma's repository only."""

NAMES: tuple[str, ...] = tuple(
    """
    EAGER EXPORT+EAGER ONNX_CPU ONNX_GPU ONNX+DYNAMO_EXPORT
    COMPILE_CUDAGRAPHS COMPILE_INDUCTOR_DEFAULT COMPILE_INDUCTOR_REDUCE_OVERHEAD COMPILE_INDUCTOR_MAX_AUTOTUNE
    COMPILE_INDUCTOR_EAGER_FALLBACK COMPILE_ONNXRT COMPILE_OPENXLA COMPILE_TVM
    EXPORT+AI8WI8_FLOAT_QUANTIZED EXPORT+AI8WI8_FLOAT_QUANTIZED+RUN_DECOMPOSITION
    EXPORT+AI8WI8_STATIC_QUANTIZED EXPORT+AI8WI8_STATIC_QUANTIZED+RUN_DECOMPOSITION
    EXPORT+AOT_INDUCTOR EXPORT+COMPILE_CUDAGRAPHS EXPORT+COMPILE_INDUCTOR_DEFAULT
    EXPORT+COMPILE_INDUCTOR_REDUCE_OVERHEAD EXPORT+COMPILE_INDUCTOR_MAX_AUTOTUNE
    EXPORT+COMPILE_INDUCTOR_DEFAULT_EAGER_FALLBACK EXPORT+COMPILE_ONNXRT EXPORT+COMPILE_OPENXLA EXPORT+COMPILE_TVM
    NATIVE_CONVERT_AI8WI8_STATIC_QUANTIZED NATIVE_FAKE_QUANTIZED_AI8WI8_STATIC
    COMPILE_TENSORRT EXPORT+COMPILE_TENSORRT COMPILE_OPENVINO JIT_TRACE TORCH_SCRIPT
    OPTIMUM_QUANTO_AI8WI8 OPTIMUM_QUANTO_AI8WI4 OPTIMUM_QUANTO_AI8WI2
    OPTIMUM_QUANTO_WI8 OPTIMUM_QUANTO_WI4 OPTIMUM_QUANTO_WI2
    OPTIMUM_QUANTO_Wf8E4M3N OPTIMUM_QUANTO_Wf8E4M3NUZ OPTIMUM_QUANTO_Wf8E5M2
    OPTIMIM_QUANTO_Wf8E5M2+COMPILE_CUDAGRAPHS FP16+EAGER BF16+EAGER
    COMPILE_INDUCTOR_MAX_AUTOTUNE+TORCHAO_AUTOQUANT_DEFAULT COMPILE_INDUCTOR_MAX_AUTOTUNE+TORCHAO_AUTOQUANT_NONDEFAULT
    COMPILE_CUDAGRAPHS+TORCHAO_AUTOQUANT_DEFAULT
    COMPILE_INDUCTOR_MAX_AUTOTUNE+TORCHAO_QUANT_I4_WEIGHT_ONLY TORCHAO_QUANT_I4_WEIGHT_ONLY
    FP16+COMPILE_CUDAGRAPHS FP16+COMPILE_INDUCTOR_DEFAULT FP16+COMPILE_INDUCTOR_REDUCE_OVERHEAD
    FP16+COMPILE_INDUCTOR_MAX_AUTOTUNE FP16+COMPILE_INDUCTOR_EAGER_FALLBACK FP16+COMPILE_ONNXRT FP16+COMPILE_OPENXLA
    FP16+COMPILE_TVM FP16+COMPILE_TENSORRT FP16+COMPILE_OPENVINO FP16+EXPORT+COMPILE_CUDAGRAPHS
    FP16+EXPORT+COMPILE_INDUCTOR_DEFAULT FP16+EXPORT+COMPILE_INDUCTOR_REDUCE_OVERHEAD
    FP16+EXPORT+COMPILE_INDUCTOR_MAX_AUTOTUNE FP16+EXPORT+COMPILE_INDUCTOR_DEFAULT_EAGER_FALLBACK
    FP16+EXPORT+COMPILE_ONNXRT FP16+EXPORT+COMPILE_OPENXLA FP16+EXPORT+COMPILE_TVM FP16+EXPORT+COMPILE_TENSORRT
    FP16+EXPORT+COMPILE_OPENVINO FP16+JIT_TRACE FP16+TORCH_SCRIPT
    BF16+COMPILE_CUDAGRAPHS BF16+COMPILE_INDUCTOR_DEFAULT BF16+COMPILE_INDUCTOR_REDUCE_OVERHEAD
    BF16+COMPILE_INDUCTOR_MAX_AUTOTUNE BF16+COMPILE_INDUCTOR_EAGER_FALLBACK BF16+COMPILE_ONNXRT BF16+COMPILE_OPENXLA
    BF16+COMPILE_TVM BF16+COMPILE_TENSORRT BF16+COMPILE_OPENVINO BF16+EXPORT+COMPILE_CUDAGRAPHS
    BF16+EXPORT+COMPILE_INDUCTOR_DEFAULT BF16+EXPORT+COMPILE_INDUCTOR_REDUCE_OVERHEAD
    BF16+EXPORT+COMPILE_INDUCTOR_MAX_AUTOTUNE BF16+EXPORT+COMPILE_INDUCTOR_DEFAULT_EAGER_FALLBACK
    BF16+EXPORT+COMPILE_ONNXRT BF16+EXPORT+COMPILE_OPENXLA BF16+EXPORT+COMPILE_TVM BF16+EXPORT+COMPILE_TENSORRT
    BF16+EXPORT+COMPILE_OPENVINO BF16+JIT_TRACE BF16+TORCH_SCRIPT
    """.split()  # noqa: SIM905 - 94 names are easier to read without quotes and commas
)

README_DIFFERS = range(30, 42)
"""Numbers that mean the next conversion in Alma's README, which leaves COMPILE_OPENVINO out."""

_ALIASES: dict[str, tuple[str, ...]] = {
    "FP16+EAGER": ("FP16",),
    # Alma builds both names alike, and registers the first.
    "COMPILE_OPENVINO": ("EXPORT+COMPILE_OPENVINO",),
    "BF16+EAGER": ("BF16",),
    "TORCH_SCRIPT": ("TORCHSCRIPT",),
    "COMPILE_CUDAGRAPHS": ("CUDAGRAPHS",),
    "FP16+COMPILE_CUDAGRAPHS": ("FP16+CUDAGRAPHS",),
    "BF16+COMPILE_CUDAGRAPHS": ("BF16+CUDAGRAPHS",),
    "NATIVE_FAKE_QUANTIZED_AI8WI8_STATIC": ("FAKE_QUANTIZED",),
}

_SUMMARIES = {
    # The name has no EXPORT, but the builder exports all the same.
    "COMPILE_OPENVINO": "torch.export, then torch.compile with OpenVINO",
    "EXPORT+EAGER": "torch.export, then PyTorch runs the exported graph",
    "ONNX+DYNAMO_EXPORT": "ONNX export through torch.export, run by ONNX Runtime on the CPU",
}


def _aliases(name: str) -> tuple[str, ...]:
    aliases = list(_ALIASES.get(name, ()))
    if name.endswith("COMPILE_INDUCTOR_DEFAULT"):
        aliases.append(name.removesuffix("_DEFAULT"))
    # Alma's README and one name of its registry say OPTIMIM, the rest of the registry OPTIMUM.
    if name.startswith("OPTIMUM_"):
        aliases.append(name.replace("OPTIMUM_", "OPTIMIM_", 1))
    if name.startswith("OPTIMIM_"):
        aliases.append(name.replace("OPTIMIM_", "OPTIMUM_", 1))
    return tuple(aliases)


def _conversion(number: int, name: str) -> Conversion:
    return compose(
        name,
        STEPS,
        needs=("torch>=2.7", f"alma-torch=={PUBLISHED}"),
        engine="alma",
        number=number,
        aliases=_aliases(name),
        in_alma=PUBLISHED if number < PUBLISHED_COUNT else "HEAD",
        **({"summary": _SUMMARIES[name]} if name in _SUMMARIES else {}),
    )


ALMA: tuple[Conversion, ...] = tuple(_conversion(number, name) for number, name in enumerate(NAMES))
