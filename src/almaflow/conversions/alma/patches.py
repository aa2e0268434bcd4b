"""List the patches of what Alma does while it builds; ``repairs`` adds missing names and directories.

Each patch is active while Alma's builder runs, and ``quanto-int8-kernel`` longer. The names of those that were needed
are recorded on the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from almaflow.conversions.alma import int8_kernel, patches_quantisers, patches_runtimes

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from almaflow.conversions.alma.build_context import AlmaBuild


@dataclass(frozen=True)
class BuildPatch:
    """One change of Alma, why it is needed, and for which builds."""

    name: str
    why: str
    concerns: Callable[[AlmaBuild], bool]
    enter: Callable[[AlmaBuild], AbstractContextManager[Any]]


PATCHES: tuple[BuildPatch, ...] = (
    BuildPatch(
        "onnx-session",
        "sessions take all processors and feed one input only; here the threads asked for, and every input",
        lambda building: building.planned.family == "onnx",
        patches_runtimes.own_sessions,
    ),
    BuildPatch(
        "onnx-input-names",
        "an export confuses the names of inputs with those of weights, and drops inputs without a trace",
        lambda building: building.planned.family == "onnx",
        patches_runtimes.input_names,
    ),
    BuildPatch(
        "onnx-check",
        "the file is read again with all its weights and checked in memory, which fails beyond 2 GB",
        lambda building: building.planned.family == "onnx",
        patches_runtimes.checked_by_path,
    ),
    BuildPatch(
        "traced-outputs",
        "tracing refuses models that answer with a dictionary, an object, None or a number beside tensors",
        lambda building: building.has("JIT_TRACE"),
        patches_runtimes.traced_outputs,
    ),
    BuildPatch(
        "aot-inductor-runners",
        "the compiled library reads inputs of other strides wrongly, and has one runner for all concurrent calls",
        lambda building: building.has("AOT_INDUCTOR"),
        patches_runtimes.aot_inductor_runners,
    ),
    BuildPatch(
        "openvino-options",
        "without these options OpenVINO's backend silently runs inductor; weights as constants, precision, threads",
        lambda building: building.has("COMPILE_OPENVINO"),
        patches_runtimes.openvino_options,
    ),
    BuildPatch(
        "openvino-bfloat16",
        "OpenVINO's backend gives every partition of a bfloat16 model back to PyTorch without a word",
        lambda building: building.has("COMPILE_OPENVINO") and building.planned.dtype == "bfloat16",
        patches_runtimes.openvino_bfloat16,
    ),
    BuildPatch(
        "onnxrt-backend",
        "PyTorch has dropped its onnxrt backend; ours, on every version",
        lambda building: building.has("COMPILE_ONNXRT"),
        patches_runtimes.onnxrt_backend,
    ),
    BuildPatch(
        "tvm-backend",
        "PyTorch's TVM backend takes no exported graph and no half precision; ours goes through TVM's newer importer",
        lambda building: building.has("COMPILE_TVM") and building.planned.device == "cpu",
        patches_runtimes.tvm_backend,
    ),
    BuildPatch(
        "quanto-calibration",
        "activations are quantised at the scale 1: nothing calibrates them",
        lambda building: building.has("OPTIMUM_QUANTO_AI"),
        patches_quantisers.quanto_calibration,
    ),
    BuildPatch(
        "quanto-int8-kernel",
        "PyTorch's int8 kernel for bfloat16 ends the process on layers of some sizes",
        lambda building: building.has("OPTIMUM_QUANTO_WI8"),
        int8_kernel.guard_int8_kernel,
    ),
    BuildPatch(
        "fx-calibration",
        "quantised at arbitrary scales, observed anew in each timed call, and in training mode: with the statistics of "
        "each batch",
        lambda building: building.planned.family == "fx",
        patches_quantisers.fx_calibration,
    ),
    BuildPatch(
        "fx-error",
        "what FX cannot trace is hidden behind an UnboundLocalError",
        lambda building: building.planned.family == "fx",
        patches_quantisers.fx_error,
    ),
    BuildPatch(
        "xnnpack-integers",
        "XNNPACK's quantiser makes floats of numbers that are added to indices: embeddings of positions fail",
        lambda building: building.has("AI8WI8_"),
        patches_quantisers.xnnpack_integers,
    ),
    BuildPatch(
        "pt2e-float-form",
        "the exported graph is changed in place: nothing is left to compare the quantised one with",
        lambda building: building.has("AI8WI8_"),
        patches_quantisers.pt2e_float_form,
    ),
    BuildPatch(
        "int4-weight-only",
        "torchao's int4_weight_only() is Int4WeightOnlyConfig() now, and its default layout is for GPUs: on a CPU "
        "nothing is quantised, or it fails",
        lambda building: building.has("TORCHAO_QUANT_I4"),
        patches_quantisers.int4_weight_only,
    ),
)
