"""Conversions that Alma has not: the ones that are built here, and the ones that are known by name so far."""

from __future__ import annotations

from almaflow.conversions.conversion import Conversion

NATIVE: tuple[Conversion, ...] = (
    Conversion(
        name="ONNX_CPU_INT8_STATIC",
        number=None,
        family="onnx",
        steps=("ONNX_CPU_INT8_STATIC",),
        engine="native",
        device="cpu",
        dtype="int8",
        summary="ONNX export, ONNX Runtime's static INT8 quantisation (QDQ), calibrated on the model's example inputs",
        quantised=True,
        needs=("torch>=2.7", "onnx", "onnxscript", "onnxruntime"),
    ),
)


def _planned(name: str, runs: tuple[str, str, str], nearest: str, summary: str, *aliases: str) -> Conversion:
    """A planned entry; ``runs`` is its family, its device and its arithmetic type."""
    family, device, dtype = runs
    steps = tuple(name.split("+"))
    return Conversion(
        name=name,
        number=None,
        family=family,
        steps=steps,
        engine="planned",
        device=device,
        dtype=dtype,
        summary=summary,
        input_dtype=dtype if steps[0] in {"FP16", "BF16"} else "float32",
        quantised=dtype.startswith(("int", "float8")),
        aliases=aliases,
        nearest=nearest,
    )


_OPENVINO = "OpenVINO's own converter and runtime"
_TENSORRT = "a TensorRT engine built ahead of time"
_TORCHAO = ("torchao", "any", "int8")
_INT8 = "torchao: int8 weights and activations"

PLANNED: tuple[Conversion, ...] = (
    _planned("OPENVINO", ("openvino", "cpu", "float32"), "COMPILE_OPENVINO", _OPENVINO),
    _planned(
        "OPENVINO_FP16",
        ("openvino", "cpu", "float16"),
        "FP16+COMPILE_OPENVINO",
        f"{_OPENVINO}, weights in float16",
        "FP16+OPENVINO",
    ),
    _planned("TENSORRT", ("tensorrt", "cuda", "float32"), "COMPILE_TENSORRT", _TENSORRT),
    _planned(
        "TENSORRT_FP16",
        ("tensorrt", "cuda", "float16"),
        "FP16+COMPILE_TENSORRT",
        f"{_TENSORRT}, in float16",
        "FP16+TENSORRT",
    ),
    _planned(
        "BF16+TENSORRT",
        ("tensorrt", "cuda", "bfloat16"),
        "BF16+COMPILE_TENSORRT",
        f"{_TENSORRT}, in bfloat16",
        "TENSORRT_BF16",
    ),
    _planned(
        "EXPORT+TENSORRT",
        ("tensorrt", "cuda", "float32"),
        "EXPORT+COMPILE_TENSORRT",
        f"torch.export, then {_TENSORRT}",
    ),
    _planned(
        "FP16+ONNX_GPU",
        ("onnx", "cuda", "float16"),
        "ONNX_GPU",
        "ONNX export in float16, run by ONNX Runtime's CUDA provider",
    ),
    _planned("TORCHAO_QUANT_INT8", _TORCHAO, "OPTIMUM_QUANTO_WI8", _INT8),
    _planned(
        "TORCHAO_QUANT_INT8+COMPILE_INDUCTOR",
        _TORCHAO,
        "OPTIMUM_QUANTO_WI8",
        f"{_INT8}, then torch.compile with inductor",
        "TORCHAO_QUANT_INT8+COMPILE_INDUCTOR_DEFAULT",
    ),
    _planned(
        "TORCHAO_QUANT_FP8",
        ("torchao", "any", "float8_e4m3fn"),
        "OPTIMUM_QUANTO_Wf8E4M3N",
        "torchao: float8 weights and activations",
    ),
    _planned(
        "TORCHAO_AUTOQUANT",
        _TORCHAO,
        "OPTIMUM_QUANTO_WI8",
        "torchao picks a type per layer by timing it, without compiling first",
    ),
)
