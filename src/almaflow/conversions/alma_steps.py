"""What each technique in Alma's names does: the part of a name between two plus signs.

Read off ``alma/conversions/select.py`` and the builders that it calls, not off the names: they differ in places.
"""

from __future__ import annotations

from almaflow.conversions.catalogue.steps import Step

EAGER_FALLBACK = "what cannot be compiled runs eagerly"
AI8WI8 = "PT2E quantisation with XNNPACK's quantiser, "
QUANTO = "quanto: "
CALIBRATED = ", activations int8, calibrated on the example inputs"


def _inductor(mode: str) -> Step:
    return Step(f"torch.compile with inductor, {mode}", "inductor")


def _quanto(does: str, dtype: str) -> Step:
    return Step(QUANTO + does, "quanto", needs=("optimum-quanto",), dtype=dtype)


def _pt2e(does: str) -> Step:
    return Step(AI8WI8 + does, "pt2e", needs=("torchao",), dtype="int8")


_CUDAGRAPHS = Step("torch.compile that replays CUDA graphs", "cudagraphs", "cuda")
_ONNX = ("onnx", "onnxscript", "onnxruntime")

STEPS: dict[str, Step] = {
    "EAGER": Step("PyTorch runs the model as it is", "eager"),
    "FP16": Step("weights and inputs cast to float16", dtype="float16", casts_inputs=True),
    "BF16": Step("weights and inputs cast to bfloat16", dtype="bfloat16", casts_inputs=True),
    "EXPORT": Step("torch.export", "export"),
    "JIT_TRACE": Step("TorchScript by tracing", "torchscript"),
    "TORCH_SCRIPT": Step("TorchScript by compiling the source", "torchscript"),
    "ONNX_CPU": Step("ONNX export, run by ONNX Runtime on the CPU", "onnx", "cpu", _ONNX),
    "ONNX_GPU": Step(
        "ONNX export, run by ONNX Runtime's CUDA provider", "onnx", "cuda", ("onnx", "onnxscript", "onnxruntime-gpu")
    ),
    "ONNX": Step("ONNX", "onnx", needs=_ONNX),
    # Alma opens the session with the CPU provider, whatever the device.
    "DYNAMO_EXPORT": Step("export through torch.export, run by ONNX Runtime on the CPU", "onnx", "cpu"),
    "COMPILE_CUDAGRAPHS": _CUDAGRAPHS,
    "COMPILE_INDUCTOR_DEFAULT": _inductor("mode default"),
    "COMPILE_INDUCTOR_REDUCE_OVERHEAD": _inductor("mode reduce-overhead (CUDA graphs where there is a GPU)"),
    "COMPILE_INDUCTOR_MAX_AUTOTUNE": _inductor("mode max-autotune"),
    "COMPILE_INDUCTOR_EAGER_FALLBACK": _inductor(f"mode default; {EAGER_FALLBACK}"),
    "COMPILE_INDUCTOR_DEFAULT_EAGER_FALLBACK": _inductor(f"mode default; {EAGER_FALLBACK}"),
    "AOT_INDUCTOR": Step("compiled ahead of time into a library by AOTInductor", "aot_inductor"),
    "COMPILE_ONNXRT": Step("torch.compile with ONNX Runtime", "onnxrt", needs=_ONNX),
    "COMPILE_OPENXLA": Step("torch.compile with OpenXLA", "xla", "xla", ("torch-xla",)),
    "COMPILE_TVM": Step("torch.compile with TVM, untuned", "tvm", needs=("apache-tvm",)),
    "COMPILE_TENSORRT": Step("torch.compile with TensorRT", "tensorrt", "cuda", ("torch-tensorrt",)),
    "COMPILE_OPENVINO": Step("torch.compile with OpenVINO", "openvino", "cpu", ("openvino>=2025.0",)),
    "AI8WI8_FLOAT_QUANTIZED": _pt2e("int8 values dequantised before each operation"),
    "AI8WI8_STATIC_QUANTIZED": _pt2e("integer arithmetic in PyTorch's reference operators"),
    "RUN_DECOMPOSITION": Step("exported again and decomposed into core operators"),
    "NATIVE_CONVERT_AI8WI8_STATIC_QUANTIZED": Step(
        "FX graph mode quantisation, int8 kernels, calibrated on the example inputs", "fx", "cpu", dtype="int8"
    ),
    "NATIVE_FAKE_QUANTIZED_AI8WI8_STATIC": Step(
        "FX graph mode fake quantisation: int8 emulated in float32, calibrated on the example inputs",
        "fx",
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
        "torchao picks float or int8 per layer by timing it", "torchao", needs=("torchao",), dtype="int8"
    ),
    "TORCHAO_AUTOQUANT_NONDEFAULT": Step(
        "torchao picks among its int4 kinds per layer by timing it", "torchao", needs=("torchao",), dtype="int4"
    ),
    "TORCHAO_QUANT_I4_WEIGHT_ONLY": Step(
        "torchao: weights int4, bfloat16 arithmetic", "torchao", needs=("torchao",), dtype="int4"
    ),
}
