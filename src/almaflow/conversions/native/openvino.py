"""Build OpenVINO models with its own converter, file and runtime, without torch.compile."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from almaflow.conversions.built.evidence import ExecutionEvidence, precision_fault
from almaflow.conversions.built.float_form import FloatForm
from almaflow.conversions.built.model import BuiltModel
from almaflow.conversions.built.narrow_files import openvino_shares
from almaflow.conversions.native.openvino_models import converted, given, taken

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.conversions.built.model import Backend, BuildInputs
    from almaflow.conversions.native.openvino_models import Converted


def _precision(precision: str, *, compress: bool = False) -> Backend:
    """Return a step that computes in a type, by OpenVINO's name; ``compress`` stores weights in float16."""

    def run(model: torch.nn.Module, work: BuildInputs) -> BuiltModel:
        form = converted(model, work)
        return _opened(_saved(form.model, "model.xml", compress=compress), form, work, precision)

    return run


def int8(model: torch.nn.Module, work: BuildInputs) -> BuiltModel:
    """Quantise by NNCF after training, calibrated on inputs of the model; the rest computes in float32.

    Raises:
        NotImplementedError: the model has no weight that could be quantised.
    """
    import nncf

    form = converted(model, work)
    floating = _saved(form.model, "float.xml")
    transformer = any(isinstance(module, torch.nn.LayerNorm) for module in model.modules())
    quantised = nncf.quantize(
        form.model,
        nncf.Dataset(work.calibrated_on, lambda batch: [given(tensor) for tensor in batch]),
        subset_size=len(work.calibrated_on),
        model_type=nncf.ModelType.TRANSFORMER if transformer else None,
    )
    count = sum(operation.get_type_name() == "FakeQuantize" for operation in quantised.get_ops())
    if not count:
        message = "nothing to quantise: NNCF found no operation that OpenVINO computes in int8"
        raise NotImplementedError(message)
    path, exported = _saved(quantised, "model.xml"), form.exported
    built = _opened(path, form, work, "f32", fake_quantize_operations=str(count))
    float_form = FloatForm(lambda: exported.restored(forward_of(_compile(floating, work, "f32"))))
    return replace(built, float_form=float_form, calibration_batches=len(work.calibrated_on))


def _saved(model: Any, name: str, *, compress: bool = False) -> Path:
    import openvino

    path = Path(name).absolute()
    openvino.save_model(model, path, compress_to_fp16=compress)
    return path


def _opened(path: Path, form: Converted, work: BuildInputs, precision: str, **counts: str) -> BuiltModel:
    import openvino

    compiled = _compile(path, work, precision)

    @cache
    def shares() -> tuple[float | None, float | None]:
        # What is stored narrow counts; bfloat16 is only in what is executed.
        executed = compiled if precision != "f32" else None
        return openvino_shares(openvino.Core().read_model(path), executed)

    def evidence() -> ExecutionEvidence:
        static = all(port.partial_shape.is_static for port in compiled.inputs)
        runtime = {
            "openvino_precision": compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name(),
            "openvino_threads": str(compiled.get_property("INFERENCE_NUM_THREADS")),
            "openvino_streams": str(compiled.get_property("NUM_STREAMS")),
            "openvino_device": ",".join(compiled.get_property("EXECUTION_DEVICES")),
            "openvino_sizes": "static" if static else "dynamic",
        }
        as_asked = static or work.dynamic
        fault = None if as_asked else "OpenVINO ran a model of dynamic sizes, though those of the inputs are known"
        of_weights, of_work = shares()
        return ExecutionEvidence(
            runtime | counts,
            fault or precision_fault(runtime["openvino_precision"], precision),
            "cpu",
            narrow_weights_share=of_weights,
            narrow_work_share=of_work,
        )

    weights = path.with_suffix(".bin")
    file_mb = (path.stat().st_size + weights.stat().st_size) / 1e6
    return BuiltModel(
        form.exported.restored(forward_of(compiled)),
        evidence,
        file_mb,
        notes=form.notes,
        files=(path, weights),
        settings=_settings(work, precision),
        outputs=form.exported,
    )


def _compile(path: Path, work: BuildInputs, precision: str) -> Any:
    import openvino

    return openvino.Core().compile_model(path, "CPU", _settings(work, precision))


def _settings(work: BuildInputs, precision: str) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": work.threads,
        # The latency hint gives one stream all threads.
        **({"NUM_STREAMS": work.streams} if work.streams > 1 else {"PERFORMANCE_HINT": "LATENCY"}),
    }


def forward_of(compiled: Any) -> Callable[..., list[torch.Tensor]]:
    """Return a forward call of a compiled model, which several threads may call at once."""
    requests = threading.local()  # a request serves one call at a time
    types = [port.element_type.get_type_name() for port in compiled.outputs]

    def forward(*inputs: torch.Tensor) -> list[torch.Tensor]:
        if not hasattr(requests, "current"):
            requests.current = compiled.create_infer_request()
        held = [given(tensor) for tensor in inputs]  # until the call is over: their memory is shared
        results = requests.current.infer(held, share_inputs=True, share_outputs=True)
        return [taken(result, name) for result, name in zip(results.values(), types, strict=True)]

    return forward


RUNS: dict[str, Backend] = {
    "OPENVINO": _precision("f32"),
    # The usual FP16 file: half the size; a CPU computes in float32 on it.
    "OPENVINO_FP16": _precision("f32", compress=True),
    "OPENVINO_BF16": _precision("bf16"),
    "OPENVINO_INT8": int8,
}
