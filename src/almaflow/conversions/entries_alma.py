"""Alma's conversions: the names in the order of their numbers, and what their steps make of them."""

from __future__ import annotations

from almaflow.conversions.alma_steps import STEPS
from almaflow.conversions.conversion import Conversion

PUBLISHED = "0.3.7"
PUBLISHED_COUNT = 72
"""Numbers below this are in the published release, the others in Alma's repository only."""

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

_ALIASES: dict[str, tuple[str, ...]] = {
    "FP16+EAGER": ("FP16",),
    # Alma builds both names alike, and registers this one.
    "COMPILE_OPENVINO": ("EXPORT+COMPILE_OPENVINO",),
    "BF16+EAGER": ("BF16",),
    "TORCH_SCRIPT": ("TORCHSCRIPT",),
    "COMPILE_CUDAGRAPHS": ("CUDAGRAPHS",),
    "FP16+COMPILE_CUDAGRAPHS": ("FP16+CUDAGRAPHS",),
    "BF16+COMPILE_CUDAGRAPHS": ("BF16+CUDAGRAPHS",),
    "NATIVE_FAKE_QUANTIZED_AI8WI8_STATIC": ("FAKE_QUANTIZED",),
}

_SUMMARIES = {
    # Here the name has no EXPORT and the builder exports all the same.
    "COMPILE_OPENVINO": "torch.export, then torch.compile with OpenVINO",
    "EXPORT+EAGER": "torch.export, then PyTorch runs the exported graph",
    "ONNX+DYNAMO_EXPORT": "ONNX export through torch.export, run by ONNX Runtime on the CPU",
}


def _aliases(name: str) -> tuple[str, ...]:
    found = list(_ALIASES.get(name, ()))
    if name.endswith("COMPILE_INDUCTOR_DEFAULT"):
        found.append(name.removesuffix("_DEFAULT"))
    # Alma's README and one name of its registry say OPTIMIM, the rest of the registry OPTIMUM.
    if name.startswith("OPTIMUM_"):
        found.append(name.replace("OPTIMUM_", "OPTIMIM_", 1))
    if name.startswith("OPTIMIM_"):
        found.append(name.replace("OPTIMIM_", "OPTIMUM_", 1))
    return tuple(found)


def _family(names: tuple[str, ...]) -> str:
    """A step that quantises says what the conversion is; else the last of those that change more than the type."""
    steps = [STEPS[name] for name in names if STEPS[name].family]
    quantising = [step for step in steps if step.quantises]
    changing = [step for step in steps if step.family != "eager"]
    return str((quantising or changing or steps)[-1].family)


def _conversion(number: int, name: str) -> Conversion:
    names = tuple(name.split("+"))
    steps = [STEPS[step] for step in names]
    needs = dict.fromkeys(need for step in steps for need in step.needs)
    return Conversion(
        name=name,
        number=number,
        family=_family(names),
        steps=names,
        engine="alma",
        device=next((step.device for step in steps if step.device != "any"), "any"),
        dtype=next((step.dtype for step in steps if step.dtype), "float32"),
        summary=_SUMMARIES.get(name) or ", then ".join(step.does for step in steps),
        input_dtype=next((step.dtype for step in steps if step.dtype and step.casts_inputs), "float32"),
        quantised=any(step.quantises for step in steps),
        needs=("torch>=2.7", f"alma-torch=={PUBLISHED}", *needs),
        aliases=_aliases(name),
        in_alma=PUBLISHED if number < PUBLISHED_COUNT else "HEAD",
    )


ALMA: tuple[Conversion, ...] = tuple(_conversion(number, name) for number, name in enumerate(NAMES))
