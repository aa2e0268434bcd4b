"""Builds conversions with Alma, whose defects are mended.

Alma's builders take one tensor and a model that takes one. A model of several inputs is wrapped so that it takes
them as one tuple, except where the converter spreads a tuple by itself. What is broken in Alma is mended by
``repairs`` (a missing name or place), by ``patches`` (while it builds), and here around the call:

- forward calls that cast their argument do so with each of several inputs and leave integers alone (``cast-inputs``);
- ``BF16+EAGER`` gets its model: the published Alma returns the builder itself, uncalled (``bf16-eager``);
- the BF16 names of Alma's repository are built from the published ones on a model cast first (``bf16-family``);
- one name is spelt differently in Alma's registry and its selection (``optimim-typo``).
"""

from __future__ import annotations

import importlib
import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch

from almaflow.conversions import evidence as evidences
from almaflow.conversions.alma.build_context import AlmaBuild
from almaflow.conversions.alma.inputs import (
    SPREADING,
    Batch,
    LikeOneTensor,
    Packed,
    cast_each,
    casts_its_argument,
    spread,
)
from almaflow.conversions.alma.patches import PATCHES
from almaflow.conversions.alma.repairs import apply_repairs
from almaflow.conversions.converted import ConvertedModel

if TYPE_CHECKING:
    from almaflow.records import PlannedConversion, WorkerTask


def build_with_alma(
    planned: PlannedConversion,
    model: torch.nn.Module,
    batches: list[Batch],
    task: WorkerTask,
    skip: frozenset[str],
) -> ConvertedModel:
    """Convert a model by Alma's builder; see ``conversions.build.build``."""
    repairs = list(apply_repairs(planned.steps, skip))
    select = importlib.import_module("alma.conversions.select")
    # Alma asks the root logger whether to print graphs; a handler is what brings its messages into the worker's log.
    logging.basicConfig(level=task.measure.log_level, force=True)
    name = _alma_name(planned, model, skip, repairs)
    several = len(batches[0]) > 1
    spreading = several and not SPREADING.isdisjoint(planned.steps)
    casting = casts_its_argument(planned.steps) and (several or not batches[0][0].is_floating_point())
    casting = casting and "cast-inputs" not in skip
    packed = casting or (several and not spreading)
    module = Packed(model, len(batches[0])) if packed else model
    example = _examples(batches, packed=packed)[0]
    if several and planned.family == "fx":
        example = LikeOneTensor(batches[0])
    building = AlmaBuild(planned, model, task, _examples(batches, packed=packed), spreading)
    with ExitStack() as stack:
        stack.enter_context(evidences.counting_from_reset())
        for patch in PATCHES:
            if patch.name not in skip and patch.concerns(building):
                stack.enter_context(patch.enter(building))
                repairs.append(patch.name)
        forward = select.select_forward_call_function(module, name, example, torch.device(planned.device))
    if isinstance(forward, tuple):
        forward = forward[0]
    builder = importlib.import_module("alma.conversions.options.bf16").get_bfp16_eager_forward_call
    if forward is builder and "bf16-eager" not in skip:
        forward = builder(module)
        repairs.append("bf16-eager")
    if casting:
        forward = cast_each(forward)
        repairs.append("cast-inputs")
    if several and planned.family == "torchscript":
        forward = spread(forward)
    session = building.sessions[0] if building.sessions else None
    size_mb = sum(building.sizes_mb) if building.sizes_mb else None
    return ConvertedModel(
        forward,
        planned,
        tuple(repairs),
        session,
        model,
        witness=lambda: evidences.ExecutionEvidence(building.found),
        file_mb=size_mb,
    )


def _examples(batches: list[Batch], *, packed: bool) -> list[Any]:
    """Each batch as the wrapped model takes it."""
    return [batch if len(batch) > 1 or packed else batch[0] for batch in batches]


def _alma_name(planned: PlannedConversion, model: torch.nn.Module, skip: frozenset[str], repairs: list[str]) -> str:
    """The name that Alma's selection knows; a model of the BF16 family is cast for it."""
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
    """The conversion names of the installed Alma."""
    options = importlib.import_module("alma.conversions.conversion_options").MODEL_CONVERSION_OPTIONS
    return {option.mode for option in options.values()}
