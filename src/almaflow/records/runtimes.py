"""What runs a conversion beside PyTorch, by its family."""

from __future__ import annotations

RUNTIMES: dict[str, tuple[str, ...]] = {
    "onnx": ("onnxruntime",),
    "onnxrt": ("onnxruntime",),
    "openvino": ("openvino", "nncf"),
    "pt2e": ("torchao",),
    "torchao": ("torchao",),
    "quanto": ("quanto",),
    "executorch": ("executorch",),
    "tvm": ("tvm",),
    "tensorrt": ("tensorrt",),
}
"""Names as a job's environment has their versions."""
