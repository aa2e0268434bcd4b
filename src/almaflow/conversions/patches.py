"""What is changed in what Alma does while it builds, beside the missing names and places of ``repairs``.

Each patch holds while Alma's builder runs. The names of those that were needed are recorded on the run.
"""

from __future__ import annotations

import importlib
import inspect
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch

from almaflow.conversions.onnx_session import feed, open_session
from almaflow.conversions.onnxrt import OnnxRuntime
from almaflow.conversions.openvino_bfloat16 import keep_bfloat16_partitions
from almaflow.conversions.size import file_mb
from almaflow.conversions.tvm import Tvm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from almaflow.records import PlannedConversion, WorkerTask

COMPILE = "alma.conversions.options.compile"
INT4_ROWS = 16
"""PyTorch's int4 kernels for CPUs take layers whose outputs are a multiple of that, and whose inputs are one of the
group; for others int4 weights are unpacked before each product."""
INT4_GROUP = 128
ONNX_PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


@dataclass
class Building:
    """What Alma is building, and what the patches keep of it."""

    planned: PlannedConversion
    model: torch.nn.Module
    task: WorkerTask
    examples: list[Any]
    """Example inputs as the model takes them: a tensor, or a tuple of several."""
    spreading: bool
    """Whether the converter spreads a tuple over the model's inputs."""
    sessions: list[Any] = field(default_factory=list)
    """ONNX Runtime's."""
    sizes_mb: list[float] = field(default_factory=list)
    """Of the files that they were opened on."""
    found: dict[str, str] = field(default_factory=dict)
    """What our own backends found out about their work."""

    def has(self, *beginnings: str) -> bool:
        """Whether a step of the conversion begins so."""
        return any(step.startswith(beginnings) for step in self.planned.steps)


@dataclass(frozen=True)
class Patch:
    """One change, and when it is made."""

    name: str
    why: str
    concerns: Callable[[Building], bool]
    enter: Callable[[Building], AbstractContextManager[Any]]


def _own_sessions(building: Building) -> Any:
    def open_and_feed(path: Any, provider: str | None = None) -> Callable[[Any], list[Any]]:
        provider = provider or ONNX_PROVIDERS[building.planned.device]
        building.sessions.append(open_session(path, provider, building.task.hardware.threads))
        building.sizes_mb.append(file_mb(path))  # now: Alma removes it soon
        return feed(building.sessions[-1])

    return patch("alma.conversions.options.onnx._get_onnx_forward_call", open_and_feed)


def _confuses_names(building: Building) -> bool:
    """Alma names one input and all weights; PyTorch's newer exporter gives the second input a weight's name then."""
    newer = bool(inspect.signature(torch.onnx.export).parameters["dynamo"].default)
    return newer and building.planned.family == "onnx" and building.spreading


def _input_names(building: Building) -> Any:
    original, count = torch.onnx.export, len(building.examples[0])

    def export(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs | {"input_names": [f"input_{i}" for i in range(count)]})

    return patch("torch.onnx.export", export)


def openvino_precision(dtype: str) -> str:
    """What OpenVINO is told to compute in, in its own words.

    Left to itself it computes in bf16 on CPUs with AMX: fast, and not what a float32 conversion says. Told f16, a CPU
    without such arithmetic takes bf16, which has fewer digits than the weights: there it is float32 on float16 weights.
    """
    if dtype != "float16":
        return {"float32": "f32", "bfloat16": "bf16"}[dtype]
    from openvino import Core

    return "f16" if "FP16" in Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def _openvino_options(building: Building) -> Any:
    compile_module = importlib.import_module(COMPILE)
    original = compile_module.get_compile_settings
    if hasattr(torch._dynamo.config, "prepare_freezing"):  # noqa: SLF001 - PyTorch has no public place for it
        # Without it dynamo passes weights as inputs, and OpenVINO can neither fold nor repack them (15 ms, not 20,
        # for resnet18 on two cores).
        torch._dynamo.config.prepare_freezing = True  # noqa: SLF001 - PyTorch has no public place for it

    def settings(backend: str = "inductor-default") -> dict[str, Any]:
        result: dict[str, Any] = original(backend)
        options = result["options"]
        options["aot_autograd"] = True
        options["config"] = options["config"] | {
            "INFERENCE_PRECISION_HINT": openvino_precision(building.planned.dtype),
            "INFERENCE_NUM_THREADS": building.task.hardware.threads,
        }
        return result

    return patch.object(compile_module, "get_compile_settings", settings)


@contextmanager
def _openvino_bfloat16(_building: Building) -> Iterator[None]:
    keep_bfloat16_partitions()  # the partitions are called long after the builder has returned
    yield


@contextmanager
def _own_backend(backend: Any, check: str) -> Iterator[None]:
    """Alma compiles with this backend, and does not look whether PyTorch's own is there."""
    settings = {"backend": backend, "fullgraph": True}
    with ExitStack() as stack:
        stack.enter_context(patch.object(importlib.import_module(COMPILE), "get_compile_settings", lambda _: settings))
        stack.enter_context(patch(f"alma.conversions.select.{check}"))
        # Weights stay the graph's own, so that they are constants for what runs it.
        dynamo: Any = torch._dynamo.config  # noqa: SLF001 - PyTorch has no public place for it
        own = (
            {"prepare_freezing": True} if hasattr(dynamo, "prepare_freezing") else {"inline_inbuilt_nn_modules": False}
        )
        stack.enter_context(dynamo.patch(**own))
        yield


def _onnxrt_backend(building: Building) -> Any:
    provider, threads = ONNX_PROVIDERS[building.planned.device], building.task.hardware.threads
    backend = OnnxRuntime(provider, threads, building.sessions, building.sizes_mb, building.found)
    return _own_backend(backend, "check_onnxrt")


def _tvm_backend(building: Building) -> Any:
    return _own_backend(Tvm(building.task.hardware.threads, building.found), "check_tvm")


def _quanto_calibration(building: Building) -> Any:
    module = importlib.import_module("alma.conversions.options.optimum_quanto")
    freeze = module.freeze

    def calibrate_and_freeze(model: Any) -> None:
        from optimum.quanto import Calibration

        with torch.no_grad(), Calibration():
            for example in building.examples:
                model(example)
        freeze(model)

    return patch.object(module, "freeze", calibrate_and_freeze)


def _fx_calibration(building: Building) -> Any:
    module = importlib.import_module("alma.conversions.options.fake_quant")
    prepare = module.prepare_qat_fx

    def prepare_and_calibrate(*args: Any, **kwargs: Any) -> Any:
        prepared = prepare(*args, **kwargs)
        quantisers = [each for each in prepared.modules() if hasattr(each, "enable_static_observation")]
        for each in quantisers:
            each.enable_static_observation()
        with torch.no_grad():
            for example in building.examples:
                prepared(example)
        for each in quantisers:  # at fixed scales from here on
            each.toggle_observer_update(enabled=False)
            each.toggle_fake_quant(enabled=True)
        return prepared

    return patch.object(module, "prepare_qat_fx", prepare_and_calibrate)


def _int4(building: Building) -> Any:
    api = importlib.import_module("torchao.quantization.quant_api")
    linear = [module for module in building.model.modules() if isinstance(module, torch.nn.Linear)]

    def config() -> Any:
        if building.planned.device != "cpu":
            return api.Int4WeightOnlyConfig()
        in_groups = not any(layer.in_features % INT4_GROUP for layer in linear)
        if not in_groups or any(layer.out_features % INT4_ROWS for layer in linear):
            granularity = importlib.import_module("torchao.quantization.granularity")
            each = granularity.PerGroup(INT4_GROUP) if in_groups else granularity.PerAxis(0)
            return api.IntxWeightOnlyConfig(getattr(torch, "int4"), each)  # noqa: B009 - has no type
        if hasattr(api, "Int4PackingFormat"):
            int4 = importlib.import_module("torchao.prototype.quantization.int4")
            return int4.PrototypeInt4WeightOnlyConfig(INT4_GROUP, set_inductor_config=False)
        layouts = importlib.import_module("torchao.dtypes")
        return api.Int4WeightOnlyConfig(layout=layouts.Int4CPULayout(), set_inductor_config=False)

    return patch.object(api, "int4_weight_only", config, create=True)


PATCHES: tuple[Patch, ...] = (
    Patch(
        "onnx-session",
        "sessions take all processors and feed one input only; here the threads asked for, and every input",
        lambda building: building.planned.family == "onnx",
        _own_sessions,
    ),
    Patch(
        "onnx-input-names",
        "an export of several inputs confuses their names with those of weights",
        _confuses_names,
        _input_names,
    ),
    Patch(
        "openvino-options",
        "without these options OpenVINO's backend silently runs inductor; weights as constants, precision, threads",
        lambda building: building.has("COMPILE_OPENVINO"),
        _openvino_options,
    ),
    Patch(
        "openvino-bfloat16",
        "OpenVINO's backend gives every partition of a bfloat16 model back to PyTorch without a word",
        lambda building: building.has("COMPILE_OPENVINO") and building.planned.dtype == "bfloat16",
        _openvino_bfloat16,
    ),
    Patch(
        "onnxrt-backend",
        "PyTorch has dropped its onnxrt backend, which left weights as inputs; ours, on every version",
        lambda building: building.has("COMPILE_ONNXRT"),
        _onnxrt_backend,
    ),
    Patch(
        "tvm-backend",
        "PyTorch's TVM backend takes no exported graph and no half precision; ours goes through TVM's newer importer",
        lambda building: building.has("COMPILE_TVM") and building.planned.device == "cpu",
        _tvm_backend,
    ),
    Patch(
        "quanto-calibration",
        "activations are quantised at the scale 1: nothing calibrates them",
        lambda building: building.has("OPTIMUM_QUANTO_AI"),
        _quanto_calibration,
    ),
    Patch(
        "fx-calibration",
        "activations and weights are quantised at arbitrary scales, or observed anew in each timed call",
        lambda building: building.planned.family == "fx",
        _fx_calibration,
    ),
    Patch(
        "int4-weight-only",
        "torchao's int4_weight_only() is Int4WeightOnlyConfig() now, and its default layout is for GPUs: on a CPU "
        "nothing is quantised, or it fails",
        lambda building: building.has("TORCHAO_QUANT_I4"),
        _int4,
    ),
)
