"""Convert PyTorch models to OpenVINO's, with the sizes of the example where these are fixed, and feed them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from almaflow.conversions.built.tensor_outputs import TensorOutputs

if TYPE_CHECKING:
    from almaflow.conversions.built.model import BuildInputs


@dataclass(frozen=True)
class Converted:
    """A model of OpenVINO's, and what the user should know about its conversion."""

    model: Any
    exported: TensorOutputs
    notes: tuple[str, ...] = ()


def converted(model: torch.nn.Module, work: BuildInputs) -> Converted:
    """Convert through ``torch.export``, and by tracing where the export has an operation that OpenVINO does not know.

    Conversion forgets the sizes of the example inputs; those that are fixed are set again, since OpenVINO plans memory
    and chooses kernels for fixed sizes only.

    Raises:
        Exception: OpenVINO knows an operation in neither form, or tracing would freeze decisions of the model.
    """
    import openvino
    from openvino.frontend import OpConversionFailure

    example = work.example
    notes: tuple[str, ...] = ()
    wrapped = TensorOutputs(model)
    try:
        dynamic = work.dynamic.for_export(wrapped, example)
        result = openvino.convert_model(torch.export.export(wrapped, example, strict=False, **dynamic))
    except OpConversionFailure as error:
        if work.traits.decides_by_values or work.traits.sizes_by_values:
            raise  # a trace would hold the decisions of the example inputs
        result = openvino.convert_model(wrapped, example_input=example)
        notes = (f"OpenVINO converted it by tracing, since it does not know all that the export has{_missing(error)}",)
    if len(result.inputs) != len(example):
        message = f"OpenVINO's model has {len(result.inputs)} inputs, the model {len(example)}"
        raise NotImplementedError(message)
    shapes = map(openvino.PartialShape, work.dynamic.for_openvino(example))
    result.reshape(dict(zip(result.inputs, shapes, strict=True)))
    return Converted(result, wrapped, notes)


def _missing(error: Exception) -> str:
    """Return the operations that OpenVINO names in an error."""
    _, found, names = str(error).partition("No conversion rule found for operations:")
    return f": {names.strip().splitlines()[0]}" if found else ""


def given(tensor: torch.Tensor) -> Any:
    """Return a tensor's memory as OpenVINO takes it; what is not contiguous is copied."""
    import openvino

    plain = tensor.detach().contiguous().resolve_neg()
    if plain.dtype is torch.bfloat16:  # which NumPy lacks
        return openvino.Tensor(plain.view(torch.int16).numpy(), list(plain.shape), openvino.Type.bf16)
    return plain.numpy()


def taken(array: Any, element_type: str) -> torch.Tensor:
    """Return an output's memory as a tensor, given OpenVINO's name of its type."""
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if element_type == "bf16" else tensor
