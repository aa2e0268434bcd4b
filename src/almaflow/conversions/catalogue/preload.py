"""What the clean server imports for a job, so that no worker has to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.records import ModelSpec, PlannedConversion

ALMA = "alma.conversions.select"
ALWAYS = ("torch", "almaflow.worker.conversion", "almaflow.worker.reference", "threadpoolctl")
INDUCTOR = ("torch._dynamo", "torch._inductor.compile_fx", "torch._inductor.codegen.cpp")
ONNX = ("onnxscript", "torch.onnx._internal.exporter._core", "onnxruntime", "onnxruntime.quantization")
OPENVINO = ("openvino", "openvino.torch", *INDUCTOR)
NATIVE = ("almaflow.conversions.native", "torch.export")


def modules_for(model: ModelSpec, plan: Sequence[PlannedConversion]) -> tuple[str, ...]:
    """The modules that the workers of this plan import anyway, in the order to import them.

    None of them may compute or start a thread that computes when it is imported.
    """
    planned = [each for each in plan if not each.unavailable]
    wanted = [*ALWAYS]
    if model.arch:
        wanted.append("torchvision")
    if any(each.engine == "alma" for each in planned):
        wanted.append(ALMA)
    if any(each.engine == "native" for each in planned):
        wanted += NATIVE
    steps = {step for each in planned for step in each.steps}
    if any(step.startswith(("COMPILE_", "AOT_")) for step in steps):
        wanted += INDUCTOR
    if any(step.startswith("ONNX") or step == "COMPILE_ONNXRT" for step in steps):
        wanted += ONNX
    if "COMPILE_OPENVINO" in steps:
        wanted += OPENVINO
    elif any(step.startswith("OPENVINO") for step in steps):
        wanted.append("openvino")
    return tuple(dict.fromkeys(wanted))
