"""Conversions that deployers use and Alma has not, built from small steps.

A name is a chain: steps that change the model (``FP16``, ``CHANNELS_LAST``, ``TORCHAO_QUANT_INT8`` ...), then one that
says what runs it (``EAGER``, where none is named). ``CHANGES`` and ``RUNS`` have them by name, and
``docs/conversions.md`` shows how one is added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.conversions.native import executorch as edge
from almaflow.conversions.native import model_changes as changes
from almaflow.conversions.native import onnxruntime as onnx
from almaflow.conversions.native import openvino
from almaflow.conversions.native import pytorch as compiled
from almaflow.conversions.native.interface import Backend, BuildInputs, BuiltModel, ModelChange

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

__all__ = ["CHANGES", "RUNS", "Backend", "BuildInputs", "BuiltModel", "ModelChange", "build"]

CHANGES: dict[str, ModelChange] = changes.CHANGES
RUNS: dict[str, Backend] = {**compiled.RUNS, **onnx.RUNS, **openvino.RUNS, **edge.RUNS}


def build(steps: Sequence[str], model: torch.nn.Module, work: BuildInputs, run: Backend | None = None) -> BuiltModel:
    """Change the model step by step, and give it to what runs it.

    Args:
        steps: Names of steps in order; only the last may be one that runs the model.
        model: In eval mode, on the device of the example inputs. It may be changed.
        work: Example inputs and settings.
        run: What the last step is, where another package has it.

    Raises:
        Exception: whatever a converter raises.
    """
    run = run or RUNS.get(steps[-1])
    for step in steps[:-1] if run else steps:
        model = CHANGES[step](model, work)
    return (run or RUNS["EAGER"])(model, work)
