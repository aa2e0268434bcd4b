"""Witnesses of what a conversion's name claims: each looks at what ran and returns a complaint, or None."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from almaflow.conversions.built.evidence import ExecutionEvidence
    from almaflow.conversions.converted import ConvertedModel
    from almaflow.models.batches import Batch

WEIGHTS = 3
"""Two convolutions and a linear layer; as many products."""


@dataclass
class Seen:
    """One conversion as it was built and called."""

    converted: ConvertedModel
    evidence: ExecutionEvidence
    batch: Batch
    called: list[str]
    """Functions of PyTorch that were called while it was built, of those that are spied on."""
    inductor: list[dict[str, Any]] = field(default_factory=list)
    """Inductor's settings each time that it compiled a graph."""

    @property
    def runtime(self) -> dict[str, str]:
        return self.evidence.runtime

    @property
    def model(self) -> torch.nn.Module:
        assert self.converted.built.model is not None
        return self.converted.built.model

    @property
    def graph(self) -> torch.fx.GraphModule:
        import torch

        graph = self.converted.built.executable
        assert isinstance(graph, torch.fx.GraphModule), f"a {type(graph).__name__} runs, no exported graph"
        return graph

    def products(self, *, outside: bool = False) -> int:
        """Products that one call dispatches from Python."""
        from almaflow.models.work import count_call

        return count_call(self.converted.built.forward, self.batch, outside=outside).products

    def minds_weights(self) -> bool:
        """Whether the answer changes with the weights of the PyTorch model; it is spoilt by asking."""
        import torch

        from almaflow.models.outputs import flatten_outputs

        before = [each.clone() for each in flatten_outputs(self.converted.call(self.batch))]
        for weight in self.model.parameters():
            if weight.dim() > 1:  # a bias that is frozen into a constant is still the same memory
                weight.data.zero_()
        after = flatten_outputs(self.converted.call(self.batch))
        return not all(map(torch.equal, before, after))


def _says(**expected: str) -> Callable[[Seen], str | None]:
    """Witness: what the runtime reports."""
    return lambda seen: next(
        (f"{key} is {seen.runtime.get(key)}" for key, value in expected.items() if seen.runtime.get(key) != value), None
    )


def _eager(seen: Seen) -> str | None:
    plain = "EXPORT" in seen.called or seen.products() == WEIGHTS
    return None if plain else f"{seen.products()} products were dispatched"


def _called(function: str) -> Callable[[Seen], str | None]:
    return lambda seen: None if function in seen.called else f"{function} was not called"


def _torchscript(function: str) -> Callable[[Seen], str | None]:
    def witness(seen: Seen) -> str | None:
        import torch

        forward = seen.converted.built.forward
        if not isinstance(forward, torch._C.ScriptMethod):
            return f"a {type(forward).__name__} is called"
        return _called(function)(seen)

    return witness


def _cast(dtype: str) -> Callable[[Seen], str | None]:
    return _says(weights_dtype=dtype)


def _compiled(seen: Seen) -> str | None:
    graphs, breaks = seen.runtime.get("dynamo_graphs"), seen.runtime.get("graph_breaks")
    outside = seen.evidence.outside_share
    # Alma compiles once before the weights are replaced, and once with the new ones.
    expected = {"1", "2"} if seen.converted.traits.replaces_weights else {"1"}
    return (
        None if graphs in expected and breaks == "0" and not outside else f"{graphs} graphs, {breaks} breaks, {outside}"
    )


def _xnnpack(seen: Seen) -> str | None:
    return "no partition" if seen.runtime["xnnpack_partitions"] == "0" else _runtime_takes_all()(seen)


def _inductor(**settings: object) -> Callable[[Seen], str | None]:
    def witness(seen: Seen) -> str | None:
        if complaint := _compiled(seen):
            return complaint
        if not seen.inductor:
            return "inductor compiled nothing"
        wrong = [{key: each[key] for key in settings} for each in seen.inductor if settings.items() - each.items()]
        return f"inductor compiled with {wrong}" if wrong else None

    return witness


def _frozen(seen: Seen) -> str | None:
    return _inductor(freezing=True)(seen) or ("it still reads the weights" if seen.minds_weights() else None)


def _ahead(seen: Seen) -> str | None:
    from torch._dynamo.utils import counters

    if counters["stats"]["unique_graphs"] and seen.converted.traits.dynamo:
        return "dynamo compiled it in the call"
    if not seen.inductor:
        return "inductor compiled nothing"
    return "it still reads the weights" if seen.converted.built.model and seen.minds_weights() else None


def _runtime_takes_all(**expected: str) -> Callable[[Seen], str | None]:
    """Witness: what the runtime reports, and that PyTorch computes no product of a call."""
    return lambda seen: (
        _says(**expected)(seen) or (f"PyTorch computed {count} products" if (count := seen.products()) else None)
    )


def _openvino(dtype: str = "f32", stored: float | None = None) -> Callable[[Seen], str | None]:
    expected = {"openvino_device": "CPU", "openvino_precision": dtype, "openvino_sizes": "static"}

    def witness(seen: Seen) -> str | None:
        if complaint := _runtime_takes_all(**expected)(seen):
            return complaint
        from openvino import Core

        from almaflow.conversions.built.narrow_files import openvino_shares

        narrow = openvino_shares(Core().read_model("model.xml"))[0] or 0.0
        return None if stored is None or narrow >= stored else f"{narrow:.0%} of the weights are narrow"

    return witness


def _onnx_static(seen: Seen) -> str | None:
    import onnx

    from almaflow.conversions.built.narrow_files import onnx_shares

    graph = onnx.load("int8.onnx").graph
    constants = {each.name for each in graph.initializer}
    scales = [node.input[1] for node in graph.node if node.op_type == "QuantizeLinear"]
    if not scales or not constants.issuperset(scales):
        return "scales of activations are computed in the call"
    narrow = onnx_shares(Path("int8.onnx"))[0] or 0.0
    return _runtime_takes_all(provider="CPUExecutionProvider")(seen) if narrow == 1 else f"{narrow:.0%} in int8"


def _replaced(dtype: str, *, activations: bool = False, linear_only: bool = False) -> Callable[[Seen], str | None]:
    def witness(seen: Seen) -> str | None:
        import torch

        if complaint := _says(quantised_types=dtype, quantised_weights="1" if linear_only else str(WEIGHTS))(seen):
            return complaint
        scales = {
            float(torch.max(scale))
            for each in seen.model.modules()
            if isinstance(scale := getattr(each, "input_scale", None), torch.Tensor)
        }
        if activations and (seen.runtime.get("quantised_activations") != "int8" or scales <= {1.0}):
            return f"activations: {seen.runtime.get('quantised_activations')} at scales {scales}"
        return None

    return witness


def _pt2e(wanted: str) -> Callable[[Seen], str | None]:
    def witness(seen: Seen) -> str | None:
        targets = [str(node.target) for node in seen.graph.graph.nodes]
        if not any(wanted in target for target in targets):
            return f"no {wanted} in the graph"
        return _says(quantised_weights=str(WEIGHTS), quantised_types="int8")(seen)

    return witness


def _fx(part: str) -> Callable[[Seen], str | None]:
    def witness(seen: Seen) -> str | None:
        found = sum(part in type(module).__module__ for module in seen.graph.modules())
        if found < WEIGHTS:
            return f"{found} modules of {part}"
        return _says(quantised_weights=str(WEIGHTS))(seen)

    return witness


def _decomposed(seen: Seen) -> str | None:
    composite = [str(node.target) for node in seen.graph.graph.nodes if str(node.target).startswith("aten.linear")]
    return f"{composite} are left" if composite else _says(operators_beside_core="0")(seen)


def _channels_last(seen: Seen) -> str | None:
    import torch

    weights = [weight for weight in seen.model.parameters() if weight.dim() == 4]
    ordered = [weight.is_contiguous(memory_format=torch.channels_last) for weight in weights]
    return None if weights and all(ordered) else f"{sum(ordered)} of {len(weights)} weights are in channels-last order"


def _fallback(seen: Seen) -> str | None:
    return _inductor(max_autotune=False, suppress_errors=True)(seen)


DEFAULT = _inductor(max_autotune=False, cudagraphs=False, freezing=False)
ON_CPU = _runtime_takes_all(provider="CPUExecutionProvider")
CLAIMS: dict[str, Callable[[Seen], str | None]] = {
    "EAGER": _eager,
    "EXPORT": _called("torch.export.export"),
    "RUN_DECOMPOSITION": _decomposed,
    "JIT_TRACE": _torchscript("torch.jit.trace"),
    "TORCH_SCRIPT": _torchscript("torch.jit.script"),
    "FP16": _cast("float16"),
    "BF16": _cast("bfloat16"),
    "CHANNELS_LAST": _channels_last,
    "COMPILE_INDUCTOR": DEFAULT,
    "COMPILE_INDUCTOR_DEFAULT": DEFAULT,
    "COMPILE_INDUCTOR_REDUCE_OVERHEAD": _inductor(cudagraphs=True),
    "COMPILE_INDUCTOR_MAX_AUTOTUNE": _inductor(max_autotune=True),
    "COMPILE_INDUCTOR_FREEZING": _frozen,
    "COMPILE_INDUCTOR_EAGER_FALLBACK": _fallback,
    "COMPILE_INDUCTOR_DEFAULT_EAGER_FALLBACK": _fallback,
    "COMPILE_CUDAGRAPHS": _says(dynamo_graphs="1", cudagraph_skips="0"),
    "COMPILE_OPENXLA": _compiled,
    "COMPILE_TENSORRT": _compiled,
    "TENSORRT": _runtime_takes_all(),
    "AOT_INDUCTOR": _ahead,
    "AOT_INDUCTOR_PACKAGE": _ahead,
    "COMPILE_ONNXRT": lambda seen: _compiled(seen) or ON_CPU(seen),
    "COMPILE_TVM": lambda seen: _compiled(seen) or _runtime_takes_all()(seen),
    "COMPILE_OPENVINO": lambda seen: (
        _compiled(seen) or _runtime_takes_all(openvino_operations_outside="0", openvino_device="CPU")(seen)
    ),
    "ONNX": ON_CPU,
    "ONNX_CPU": ON_CPU,
    "DYNAMO_EXPORT": ON_CPU,
    "ONNX_GPU": _runtime_takes_all(provider="CUDAExecutionProvider"),
    "ONNX_CPU_INT8_STATIC": _onnx_static,
    "OPENVINO": _openvino(),
    "OPENVINO_FP16": _openvino(stored=0.99),
    "OPENVINO_BF16": _openvino("bf16"),
    "OPENVINO_INT8": _openvino(stored=0.99),
    "EXECUTORCH_XNNPACK": _xnnpack,
    "AI8WI8_FLOAT_QUANTIZED": _pt2e("quantized_decomposed.dequantize"),
    "AI8WI8_STATIC_QUANTIZED": _pt2e("out_dtype"),
    "NATIVE_CONVERT_AI8WI8_STATIC_QUANTIZED": _fx(".quantized.modules"),
    "NATIVE_FAKE_QUANTIZED_AI8WI8_STATIC": _fx(".qat"),
    "OPTIMUM_QUANTO_AI8WI8": _replaced("int8", activations=True),
    "OPTIMUM_QUANTO_AI8WI4": _replaced("int4", activations=True),
    "OPTIMUM_QUANTO_AI8WI2": _replaced("int2", activations=True),
    "OPTIMUM_QUANTO_WI8": _replaced("int8"),
    "OPTIMUM_QUANTO_WI4": _replaced("int4"),
    "OPTIMUM_QUANTO_WI2": _replaced("int2"),
    "OPTIMUM_QUANTO_Wf8E4M3N": _replaced("float8_e4m3fn"),
    "OPTIMUM_QUANTO_Wf8E4M3NUZ": _replaced("float8_e4m3fnuz"),
    "OPTIMUM_QUANTO_Wf8E5M2": _replaced("float8_e5m2"),
    "OPTIMIM_QUANTO_Wf8E5M2": _replaced("float8_e5m2"),
    "TORCHAO_QUANT_INT8": _replaced("int8", linear_only=True),
    "TORCHAO_QUANT_FP8": _replaced("float8_e4m3fn", linear_only=True),
    "TORCHAO_QUANT_I4_WEIGHT_ONLY": _replaced("int4", linear_only=True),
    "TORCHAO_AUTOQUANT": _replaced("int8", linear_only=True),
    "TORCHAO_AUTOQUANT_DEFAULT": _replaced("int8", linear_only=True),
    "TORCHAO_AUTOQUANT_NONDEFAULT": _replaced("int4", linear_only=True),
}
"""The witness of each step of a name."""
