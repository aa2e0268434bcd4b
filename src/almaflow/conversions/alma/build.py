"""Build conversions with Alma and repair its defects.

Alma's builders take one tensor and a model that takes one. A model of several inputs is wrapped so that it takes
them as one tuple, except where the converter spreads a tuple by itself. Defects of Alma are repaired by
``repairs`` (a missing name or directory), by ``patches`` (while it builds), and here around the call:

- forward calls that cast their argument cast each of several inputs and leave integers alone (``cast-inputs``);
- ``BF16+EAGER`` gets its model: the published Alma returns the builder itself, uncalled (``bf16-eager``);
- the BF16 names of Alma's repository are built from the published ones on a model cast first (``bf16-family``);
- one name is spelt one way in Alma's registry and another in its selection (``optimim-typo``).
"""

from __future__ import annotations

import importlib
import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch

from almaflow.conversions.alma.build_context import AlmaBuild
from almaflow.conversions.alma.inputs import (
    SPREADING,
    LikeOneTensor,
    Packed,
    cast_each,
    casts_its_argument,
    one_by_one,
)
from almaflow.conversions.alma.patches import PATCHES
from almaflow.conversions.alma.patches_runtimes import openvino_precision, what_is_made
from almaflow.conversions.alma.repairs import apply_repairs
from almaflow.conversions.built import evidence as evidences
from almaflow.conversions.built.layout import takes_turns
from almaflow.conversions.built.model import BuiltModel
from almaflow.conversions.built.onnx_sessions import CPU, CUDA, OnnxSessions
from almaflow.conversions.built.tensor_outputs import TensorOutputs

if TYPE_CHECKING:
    from almaflow.conversions.built.model import BuildInputs
    from almaflow.models.batches import Batch
    from almaflow.records import PlannedConversion


def build_with_alma(
    planned: PlannedConversion, model: torch.nn.Module, inputs: BuildInputs, log_level: str, skip: frozenset[str]
) -> BuiltModel:
    """Convert a model with Alma; ``conversions.build.build`` explains the arguments."""
    repairs = list(apply_repairs(planned.steps, skip))
    select = importlib.import_module("alma.conversions.select")
    # Alma prints graphs by the root logger's level; the handler writes its messages to the worker's log.
    logging.basicConfig(level=log_level, force=True)
    name = _alma_name(planned, model, skip, repairs)
    batches = inputs.batches
    several = len(batches[0]) > 1
    spreading = several and not SPREADING.isdisjoint(planned.steps)
    casting = casts_its_argument(planned.steps) and (several or not batches[0][0].is_floating_point())
    casting = casting and "cast-inputs" not in skip
    packed = casting or (several and not spreading)
    module = Packed(model, len(batches[0])) if packed else model
    examples = _examples([inputs.example, *batches[1:]], packed=packed)
    calibration = _examples(inputs.calibration, packed=packed) or examples
    arguments = (inputs.example,) if packed else inputs.example
    exported = TensorOutputs(module, arguments) if planned.family == "onnx" else None
    example = LikeOneTensor(batches[0]) if several and planned.family == "fx" else examples[0]
    sessions = OnnxSessions(CUDA if planned.device == "cuda" else CPU, inputs.threads)
    building = AlmaBuild(
        planned, model, inputs.threads, examples, calibration, spreading, sessions, inputs.streams, inputs.dynamic
    )
    with ExitStack() as stack:
        stack.enter_context(evidences.counting_from_reset())
        stack.enter_context(what_is_made(building))
        for patch in PATCHES:
            if patch.name not in skip and patch.concerns(building):
                stack.enter_context(patch.enter(building))
                repairs.append(patch.name)
        forward = select.select_forward_call_function(exported or module, name, example, torch.device(planned.device))
    if isinstance(forward, tuple):
        forward = forward[0]
    executable = getattr(forward, "__self__", forward)  # TorchScript has no truth value, so no "or"
    builder = importlib.import_module("alma.conversions.options.bf16").get_bfp16_eager_forward_call
    if forward is builder and "bf16-eager" not in skip:
        forward = builder(module)
        repairs.append("bf16-eager")
    if casting:
        forward = cast_each(forward)
        repairs.append("cast-inputs")
    elif several and planned.family != "torchscript":  # TorchScript spreads a tuple in calls too
        forward = one_by_one(forward)
    if exported:
        forward = exported.restored(forward)
    return BuiltModel(
        forward,
        lambda: _evidence(building),
        sessions.file_mb,
        model,
        tuple(sessions.opened),
        tuple(repairs),
        building.float_form,
        takes_turns("AOTInductor", inputs.streams) if building.has("AOT_INDUCTOR") else (),
        executable,
        building.calibration_batches,
        building.files,
        building.compile_settings,
        exported,
        building.program,
    )


def _evidence(building: AlmaBuild) -> evidences.ExecutionEvidence:
    parts = [evidences.ExecutionEvidence(building.runtime), building.sessions.evidence()]
    if building.has("COMPILE_OPENVINO"):
        parts.append(evidences.openvino_evidence(openvino_precision(building.planned.dtype)))
    if building.has("COMPILE_CUDAGRAPHS"):
        parts.append(evidences.cudagraphs_evidence())
    return evidences.together(parts)


def _examples(batches: list[Batch], *, packed: bool) -> list[Any]:
    """Return each batch in the form that the wrapped model takes."""
    return [batch if len(batch) > 1 or packed else batch[0] for batch in batches]


def _alma_name(planned: PlannedConversion, model: torch.nn.Module, skip: frozenset[str], repairs: list[str]) -> str:
    """Return the name that Alma's selection knows, and cast the model of a BF16 name that the release lacks."""
    name = planned.name
    if planned.steps[0] == "BF16" and name not in _published_names() and "bf16-family" not in skip:
        model.to(torch.bfloat16)
        name = name.removeprefix("BF16+")
        repairs.append("bf16-family")
    if name.startswith("OPTIMIM_") and "optimim-typo" not in skip:
        name = name.replace("OPTIMIM_", "OPTIMUM_", 1)
        repairs.append("optimim-typo")
    return name


def _published_names() -> set[str]:
    """Return the conversion names of the installed Alma."""
    options = importlib.import_module("alma.conversions.conversion_options").MODEL_CONVERSION_OPTIONS
    return {option.mode for option in options.values()}
