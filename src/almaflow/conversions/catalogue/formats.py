"""Say as what a conversion can be exported, or why it cannot, before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from almaflow.records.export import Format

if TYPE_CHECKING:
    from almaflow.conversions.catalogue.entry import Conversion
    from almaflow.records import ModelSpec, PlannedConversion

_OWN_BACKEND = "almaflow's own torch.compile backend runs it, and keeps nothing in a file; take {instead}"
_REASONS = {
    "onnxrt": _OWN_BACKEND.format(instead="ONNX_CPU"),
    "tvm": _OWN_BACKEND.format(instead="AOT_INDUCTOR_PACKAGE"),
    "xla": "XLA compiles it in the memory of one process; take AOT_INDUCTOR_PACKAGE",
    "tensorrt": "its engine holds for one kind of GPU and one version of TensorRT: build it where it is to run",
    "fx": "FX graph mode leaves a module that PyTorch saves by pickle only; take ONNX_CPU_INT8_STATIC or OPENVINO_INT8",
}
"""By family."""
_AUTOQUANT = "the kernel of each layer is chosen by timing, in the memory of one process; take TORCHAO_QUANT_INT8"
_BARE_LIBRARY = "it is a bare library, which only PyTorch's internals load; take AOT_INDUCTOR_PACKAGE"
_PATCHED = "OpenVINO's torch.compile backend runs bfloat16 only with a patch of almaflow's; take OPENVINO_BF16"
_REGISTERED = "another package builds it, and does not say how it is saved"
_IN_HAND = (
    "it is a state dict for a module that your code builds, and the model was given as an object: name a callable by "
    "model._target_, or take a conversion that is a file of its own, such as ONNX_CPU, OPENVINO or EXPORT+EAGER"
)
_OF_FAMILY = {
    "onnx": Format.ONNX,
    "openvino": Format.OPENVINO,
    "torchscript": Format.TORCHSCRIPT,
    "executorch": Format.EXECUTORCH,
    "aot_inductor": Format.AOT_INDUCTOR,
    "pt2e": Format.TORCH_EXPORT,
}


@dataclass(frozen=True)
class Exportable:
    """The format in which a conversion can be exported, or the reason why it cannot."""

    format: Format | None
    reason: str | None = None


def export_format(entry: Conversion | PlannedConversion, model: ModelSpec | None = None) -> Exportable:
    """Return the format of a conversion's export, or the reason why there is none.

    Args:
        entry: The conversion.
        model: The model that it converts; without one, a model that an import path builds is assumed.
    """
    reason = _reason(entry)
    if reason:
        return Exportable(None, reason)
    kind = _format(entry)
    if kind is Format.STATE_DICT and model is not None and model.pickle_path is not None:
        return Exportable(None, _IN_HAND)
    return Exportable(kind)


def _reason(entry: Conversion | PlannedConversion) -> str | None:
    if entry.engine == "registered":
        return _REGISTERED
    if "AOT_INDUCTOR" in entry.steps:
        return _BARE_LIBRARY
    if any("AUTOQUANT" in step for step in entry.steps):
        return _AUTOQUANT
    if "COMPILE_OPENVINO" in entry.steps and entry.dtype == "bfloat16":
        return _PATCHED
    return _REASONS.get(entry.family)


def _format(entry: Conversion | PlannedConversion) -> Format:
    if entry.family in _OF_FAMILY and not entry.traits.dynamo:
        return _OF_FAMILY[entry.family]
    # Alma exports for COMPILE_OPENVINO too, but not in float16.
    exports = "EXPORT" in entry.steps or entry.steps == ("COMPILE_OPENVINO",)
    return Format.TORCH_EXPORT if exports else Format.STATE_DICT
