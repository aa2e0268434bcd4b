"""Patch how Alma opens runtimes: ONNX Runtime, OpenVINO, TVM."""

from __future__ import annotations

import importlib
import inspect
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch

from almaflow.conversions.built.onnx_sessions import feed
from almaflow.conversions.dynamo_backends.onnxruntime import OnnxRuntime
from almaflow.conversions.dynamo_backends.openvino_bfloat16 import keep_bfloat16_partitions
from almaflow.conversions.dynamo_backends.tvm import Tvm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from almaflow.conversions.alma.build_context import AlmaBuild

COMPILE = "alma.conversions.options.compile"


def own_sessions(building: AlmaBuild) -> Any:
    """Open sessions with the configured threads, and feed them every input."""

    def open_and_feed(path: Any, _provider: str | None = None) -> Callable[[Any], list[Any]]:
        return feed(building.sessions.open(path))

    return patch("alma.conversions.options.onnx._get_onnx_forward_call", open_and_feed)


def confuses_names(building: AlmaBuild) -> bool:
    """Whether PyTorch's newer exporter gives the second input a weight's name, since Alma names only the first."""
    newer = bool(inspect.signature(torch.onnx.export).parameters["dynamo"].default)
    return newer and building.planned.family == "onnx" and building.spreading


def input_names(building: AlmaBuild) -> Any:
    """Name the inputs of an export, and no weights."""
    original, count = torch.onnx.export, len(building.examples[0])

    def export(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs | {"input_names": [f"input_{i}" for i in range(count)]})

    return patch("torch.onnx.export", export)


def openvino_precision(dtype: str) -> str:
    """Return OpenVINO's name of the type to compute in.

    By default OpenVINO computes in bf16 on CPUs with AMX: fast, but not what a float32 conversion promises. With f16, a
    CPU without such arithmetic takes bf16, which has fewer digits than the weights; there f32 is used on f16 weights.
    """
    if dtype != "float16":
        return {"float32": "f32", "bfloat16": "bf16"}[dtype]
    from openvino import Core

    return "f16" if "FP16" in Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def openvino_options(building: AlmaBuild) -> Any:
    """Set the options that OpenVINO's backend needs to run, the precision and the threads; make weights constants."""
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
            "INFERENCE_NUM_THREADS": building.threads,
        }
        return result

    return patch.object(compile_module, "get_compile_settings", settings)


@contextmanager
def openvino_bfloat16(_building: AlmaBuild) -> Iterator[None]:
    """Keep partitions of bfloat16 graphs in OpenVINO."""
    keep_bfloat16_partitions()  # never undone: partitions are called long after the builder has returned
    yield


@contextmanager
def _own_backend(backend: Any, check: str) -> Iterator[None]:
    """Make Alma compile with this backend, and skip its check for PyTorch's own."""
    settings = {"backend": backend, "fullgraph": True}
    with ExitStack() as stack:
        stack.enter_context(patch.object(importlib.import_module(COMPILE), "get_compile_settings", lambda _: settings))
        stack.enter_context(patch(f"alma.conversions.select.{check}"))
        # Weights stay attributes of the graph, so that the backend can treat them as constants.
        dynamo: Any = torch._dynamo.config  # noqa: SLF001 - PyTorch has no public place for it
        freezing = hasattr(dynamo, "prepare_freezing")
        config = {"prepare_freezing": True} if freezing else {"inline_inbuilt_nn_modules": False}
        stack.enter_context(dynamo.patch(**config))
        yield


def onnxrt_backend(building: AlmaBuild) -> Any:
    """Use almaflow's ONNX Runtime backend; PyTorch has dropped its own."""
    return _own_backend(OnnxRuntime(building.sessions, building.runtime), "check_onnxrt")


def tvm_backend(building: AlmaBuild) -> Any:
    """Use almaflow's TVM backend instead of PyTorch's."""
    return _own_backend(Tvm(building.threads, building.runtime), "check_tvm")
