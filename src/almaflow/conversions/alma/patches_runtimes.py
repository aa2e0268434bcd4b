"""Patch how Alma opens runtimes: ONNX Runtime, OpenVINO, TVM."""

from __future__ import annotations

import importlib
import shutil
from contextlib import ExitStack, contextmanager
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten, treespec_loads

from almaflow.conversions.built.layout import LaidOutAs
from almaflow.conversions.built.onnx_sessions import feed, files_of
from almaflow.conversions.built.onnx_sessions import input_names as input_names_of
from almaflow.conversions.built.tensor_outputs import NamedTensors, example_of
from almaflow.conversions.dynamo_backends.onnxruntime import OnnxRuntime
from almaflow.conversions.dynamo_backends.openvino_bfloat16 import keep_bfloat16_partitions
from almaflow.conversions.dynamo_backends.tvm import Tvm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from almaflow.conversions.alma.build_context import AlmaBuild

COMPILE = "alma.conversions.options.compile"


@contextmanager
def what_is_made(building: AlmaBuild) -> Iterator[None]:
    """Note the program that ``torch.export`` makes, and what ``torch.compile`` is given: an export is made of them.

    Both are told of the dynamic dimensions.
    """
    export, compile_model = torch.export.export, torch.compile

    def noted_export(module: Any, args: tuple[Any, ...], *rest: Any, **kwargs: Any) -> Any:
        dynamic = {} if "dynamic_shapes" in kwargs else building.dynamic.for_export(module, args)
        building.program = export(module, args, *rest, **kwargs | dynamic)
        return building.program

    def noted_compile(*args: Any, **kwargs: Any) -> Any:
        building.compile_settings = kwargs
        building.dynamic.mark(building.examples[0])
        return compile_model(*args, **kwargs)

    with patch("torch.export.export", noted_export), patch("torch.compile", noted_compile):
        yield


def own_sessions(building: AlmaBuild) -> Any:
    """Open sessions with the configured threads, and feed every input; the file stays when Alma has deleted its own."""

    def open_and_feed(path: Any, _provider: str | None = None) -> Callable[[Any], list[Any]]:
        building.files = tuple(Path(shutil.move(each, Path.cwd() / each.name)) for each in files_of(Path(path)))
        return feed(building.sessions.open(building.files[0]))

    return patch("alma.conversions.options.onnx._get_onnx_forward_call", open_and_feed)


def input_names(building: AlmaBuild) -> Any:
    """Name the inputs of an export by their positions, and no weights; tell it of the dynamic dimensions."""
    original = torch.onnx.export
    declared = signature(torch.onnx.export).parameters.get("dynamo")  # none where somebody has wrapped it
    by_default = declared.default if declared else torch.__version__ >= "2.9"  # since then it is the default
    example = building.examples[0]
    names = input_names_of(len(example) if isinstance(example, tuple) else 1)

    def export(module: Any, data: Any, *args: Any, **kwargs: Any) -> Any:
        dynamo = kwargs.get("dynamo", by_default)
        arguments = data if isinstance(data, tuple) else (data,)
        dynamic = building.dynamic.for_onnx(module, arguments, names, dynamo=bool(dynamo))
        return original(module, data, *args, **kwargs | {"input_names": names} | dynamic)

    return patch("torch.onnx.export", export)


def checked_by_path(_building: AlmaBuild) -> Any:
    """Check the file that was saved, and not the whole of it in memory, which 2 GB of weights do not fit in."""
    module = importlib.import_module("alma.conversions.options.onnx")
    onnx: Any = importlib.import_module("onnx")
    saved: list[str] = []

    def load(path: Any) -> Any:
        saved.append(str(path))
        return onnx.load(path, load_external_data=False)

    checker = SimpleNamespace(check_model=lambda _model: onnx.checker.check_model(saved[-1]))
    return patch.object(module, "onnx", SimpleNamespace(load=load, checker=checker, helper=onnx.helper))


def traced_outputs(_building: AlmaBuild) -> Any:
    """Trace models that answer with dictionaries, objects, None or numbers among tensors too."""
    original = torch.jit.trace

    def trace(module: Any, example: Any) -> Any:
        # Not strict, or dictionaries are refused: the check holds their keys and tensors against eager's.
        scripted = isinstance(module, torch.jit.ScriptModule)
        return original(module if scripted else NamedTensors(module), example, strict=False)  # type: ignore[no-untyped-call]

    return patch("torch.jit.trace", trace)


def aot_inductor_runners(building: AlmaBuild) -> Any:
    """Give the library one runner for each concurrent call, and inputs in the order of memory that it takes."""
    compile_library = torch._inductor.aot_compile  # noqa: SLF001 - what Alma calls
    examples: list[tuple[torch.Tensor, ...]] = []

    def aot_compile(graph: Any, args: tuple[Any, ...], *rest: Any, **settings: Any) -> Any:
        flat, structure = tree_flatten(args)
        examples.append(example_of(tuple(flat)))
        return compile_library(graph, tree_unflatten(list(examples[-1]), structure), *rest, **settings)

    def aot_load(path: str, device: str) -> Callable[..., Any]:
        if device == "cpu":
            runner: Any = torch._C._aoti.AOTIModelContainerRunnerCpu(path, building.streams)  # noqa: SLF001
        else:
            runner = torch._C._aoti.AOTIModelContainerRunnerCuda(path, building.streams, device)  # noqa: SLF001
        structure = treespec_loads(runner.get_call_spec()[1])
        run = LaidOutAs(examples[-1], lambda *inputs: tree_unflatten(runner.run(list(inputs)), structure))
        building.runtime["aot_inductor_runners"] = str(building.streams)
        return lambda *args: run(*tree_flatten(args)[0])

    with ExitStack() as stack:
        stack.enter_context(patch("torch._inductor.aot_compile", aot_compile))
        stack.enter_context(patch("torch._export.aot_load", aot_load))
        return stack.pop_all()


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
    # Not dynamic: a graph for other strides would get numbers beside its tensors.
    settings = {"backend": backend, "fullgraph": True, "dynamic": False}
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
