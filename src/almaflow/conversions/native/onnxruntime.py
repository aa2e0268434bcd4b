"""Build ONNX Runtime models, exported by PyTorch, in floating point or quantised."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from almaflow import machine
from almaflow.conversions.built.evidence import ExecutionEvidence, together
from almaflow.conversions.built.float_form import FloatForm
from almaflow.conversions.built.model import BuiltModel
from almaflow.conversions.built.narrow_files import onnx_shares
from almaflow.conversions.built.onnx_graphs import (
    CONTRACTIONS,
    int8_weights,
    operators_to_quantize,
    products_of_stacks,
    softmax_of_floats,
)
from almaflow.conversions.built.onnx_sessions import (
    CPU,
    CUDA,
    OnnxSessions,
    feed,
    files_of,
    input_names,
    input_positions,
    weights_outside,
)
from almaflow.conversions.built.tensor_outputs import TensorOutputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from almaflow.conversions.built.model import Backend, BuildInputs
    from almaflow.models.batches import Batch


def session_on(provider: str) -> Backend:
    """Return a step that exports to ONNX through torch.export and opens a session on one provider."""

    def run(model: torch.nn.Module, work: BuildInputs) -> BuiltModel:
        exported = TensorOutputs(model, work.example)
        return _opened(_export(exported, work), exported, OnnxSessions(provider, work.threads))

    return run


def _export(model: TensorOutputs, work: BuildInputs) -> Path:
    path, example = Path("model.onnx").absolute(), work.example
    names, outside = input_names(len(example)), weights_outside(model)
    dynamic = work.dynamic.for_onnx(model, example, names, dynamo=True)
    torch.onnx.export(model, example, str(path), input_names=names, dynamo=True, external_data=outside, **dynamic)
    return path


def _call(path: Path, exported: TensorOutputs, sessions: OnnxSessions) -> Callable[..., Any]:
    forward = feed(sessions.open(path))
    return exported.restored(lambda *inputs: forward(inputs))


def _opened(path: Path, exported: TensorOutputs, sessions: OnnxSessions, **runtime: str) -> BuiltModel:
    return BuiltModel(
        _call(path, exported, sessions),
        lambda: together([ExecutionEvidence(runtime), sessions.evidence()]),
        sessions.file_mb,
        sessions=tuple(sessions.opened),
        files=files_of(path),
        outputs=exported,
    )


def int8_static(model: torch.nn.Module, work: BuildInputs) -> BuiltModel:
    """Quantise statically with ONNX Runtime: QDQ, per-channel INT8 weights, UINT8 activations, min-max calibrated.

    ONNX Runtime documents this recipe for x86 CPUs with VNNI ("Quantize ONNX models", static quantisation):
    pre-process, calibrate on representative inputs, insert Q/DQ pairs, let the session fuse them. For CPUs without VNNI
    it leaves a bit of the weights unused (``reduce_range``), since sums of products would overflow.

    Raises:
        NotImplementedError: the model has no weight that could be quantised, or weights of another type.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    others = sorted({str(p.dtype).removeprefix("torch.") for p in model.parameters() if _is_other_float(p)})
    if others:
        msg = f"ONNX Runtime's quantiser takes float32 weights, and the model has {', '.join(others)}"
        raise NotImplementedError(msg)
    outside = weights_outside(model)
    exported = TensorOutputs(model, work.example)
    floating, prepared, quantised = _export(exported, work), Path("prepared.onnx"), Path("int8.onnx")
    quant_pre_process(
        floating,
        prepared,
        skip_symbolic_shape=True,
        save_as_external_data=outside,
        all_tensors_to_one_file=outside,
        external_data_location=f"{prepared.name}.data",
    )
    quantize_static(
        prepared,
        quantised,
        _Calibration(prepared, work.calibrated_on),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=machine.cpus.int8_overflows(),
        calibrate_method=CalibrationMethod.MinMax,
        op_types_to_quantize=operators_to_quantize(prepared),
        nodes_to_exclude=products_of_stacks(prepared),
        use_external_data_format=outside,
    )
    softmax_of_floats(quantised)
    weights = int8_weights(quantised)
    if not weights:
        msg = f"nothing to quantise: the model's graph has no {', '.join(CONTRACTIONS)} with a constant weight"
        raise NotImplementedError(msg)
    built = _opened(quantised, exported, OnnxSessions(CPU, work.threads), quantised_weights=str(weights))

    @cache
    def shares() -> ExecutionEvidence:
        of_weights, of_work = onnx_shares(quantised.absolute())
        return ExecutionEvidence(narrow_weights_share=of_weights, narrow_work_share=of_work)

    return replace(
        built,
        evidence=lambda: together([built.evidence(), shares()]),
        float_form=FloatForm(lambda: _call(floating, exported, OnnxSessions(CPU, work.threads))),
        calibration_batches=len(work.calibrated_on),
    )


def _is_other_float(parameter: torch.Tensor) -> bool:
    return parameter.is_floating_point() and parameter.dtype is not torch.float32


class _Calibration:
    """A reader of batches for ONNX Runtime's calibration: one feed at a time, then None."""

    def __init__(self, path: Path, batches: list[Batch]) -> None:
        import onnx

        names = [value.name for value in onnx.load(path, load_external_data=False).graph.input]
        positions = input_positions(names)
        self._feeds: Iterator[dict[str, Any]] = iter(
            [{n: batch[p].cpu().numpy() for n, p in zip(names, positions, strict=True)} for batch in batches]
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


RUNS: dict[str, Backend] = {
    "ONNX_GPU": session_on(CUDA),
    "ONNX_CPU_INT8_STATIC": int8_static,
}
