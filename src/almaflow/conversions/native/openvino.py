"""Build OpenVINO models with its own converter, file and runtime, without torch.compile."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from almaflow.conversions.built.evidence import ExecutionEvidence, precision_fault
from almaflow.conversions.built.model import BuiltModel

if TYPE_CHECKING:
    from almaflow.conversions.built.model import Backend, BuildInputs


def _precision(precision: str, *, compress: bool = False) -> Backend:
    """Return a step that computes in a type, by OpenVINO's name; ``compress`` stores weights in float16."""

    def run(model: torch.nn.Module, work: BuildInputs) -> BuiltModel:
        return _compiled(_converted(model, work), work, precision, compress=compress)

    return run


def int8(model: torch.nn.Module, work: BuildInputs) -> BuiltModel:
    """Quantise by NNCF after training, calibrated on the example inputs; the rest computes in float32.

    Raises:
        NotImplementedError: the model has no weight that could be quantised.
    """
    import nncf

    converted = _converted(model, work)
    transformer = any(isinstance(module, torch.nn.LayerNorm) for module in model.modules())
    quantised = nncf.quantize(
        converted,
        nncf.Dataset(work.batches, lambda batch: [tensor.numpy() for tensor in batch]),
        subset_size=len(work.batches),
        model_type=nncf.ModelType.TRANSFORMER if transformer else None,
    )
    count = sum(operation.get_type_name() == "FakeQuantize" for operation in quantised.get_ops())
    if not count:
        message = "nothing to quantise: NNCF found no operation that OpenVINO computes in int8"
        raise NotImplementedError(message)
    return _compiled(quantised, work, "f32", fake_quantize_operations=str(count))


def _converted(model: torch.nn.Module, work: BuildInputs) -> Any:
    """Convert the model to OpenVINO's, with the shapes of the example inputs."""
    import openvino

    return openvino.convert_model(torch.export.export(model, work.batches[0]))


def _compiled(model: Any, work: BuildInputs, precision: str, *, compress: bool = False, **counts: str) -> BuiltModel:
    import openvino

    path = Path("model.xml")
    openvino.save_model(model, path, compress_to_fp16=compress)
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": work.threads,
        # The latency hint gives one stream all threads.
        **({"NUM_STREAMS": work.streams} if work.streams > 1 else {"PERFORMANCE_HINT": "LATENCY"}),
    }
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    requests = threading.local()  # a request serves one call at a time

    def forward(*inputs: torch.Tensor) -> list[torch.Tensor]:
        if not hasattr(requests, "current"):
            requests.current = compiled.create_infer_request()
        results = requests.current.infer([t.numpy() for t in inputs], share_inputs=True, share_outputs=True)
        return [torch.from_numpy(result) for result in results.values()]

    def evidence() -> ExecutionEvidence:
        runtime = {
            "openvino_precision": compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name(),
            "openvino_threads": str(compiled.get_property("INFERENCE_NUM_THREADS")),
            "openvino_streams": str(compiled.get_property("NUM_STREAMS")),
            "openvino_device": ",".join(compiled.get_property("EXECUTION_DEVICES")),
        }
        return ExecutionEvidence(runtime | counts, precision_fault(runtime["openvino_precision"], precision), "cpu")

    weights = path.with_suffix(".bin")
    return BuiltModel(forward, evidence, (path.stat().st_size + weights.stat().st_size) / 1e6)


RUNS: dict[str, Backend] = {
    "OPENVINO": _precision("f32"),
    # The usual FP16 file: half the size; a CPU computes in float32 on it.
    "OPENVINO_FP16": _precision("f32", compress=True),
    "OPENVINO_BF16": _precision("bf16"),
    "OPENVINO_INT8": int8,
}
