"""Export converted models that are files of a runtime already: the very files that were measured."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from almaflow.conversions.built.onnx_sessions import input_positions
from almaflow.conversions.exports.loader import (
    Loader,
    answer,
    no_bfloat16,
    threads_line,
    torch_imports,
)

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.conversions.exports.loader import Work


def onnx(directory: Path, work: Work) -> Loader:
    """Take the ONNX file, with its weights where they are beside it.

    Raises:
        NotImplementedError: the model takes or gives bfloat16.
    """
    no_bfloat16(work)
    files = _moved(work, directory)
    (session,) = work.built.sessions
    names, types = [value.name for value in session.get_inputs()], list(work.input_types)
    fed = ", ".join(
        f"{name!r}: given[{types[place]!r}]" for name, place in zip(names, input_positions(names), strict=True)
    )
    provider = session.get_providers()[0]
    return Loader(
        f"ONNX Runtime, {provider}",
        ("import numpy as np", "import onnxruntime"),
        (
            "options = onnxruntime.SessionOptions()",
            f"options.intra_op_num_threads = {work.threads}",
            "options.inter_op_num_threads = 1",
            f"session = onnxruntime.InferenceSession(HERE / {files[0]!r}, options, providers=[{provider!r}])",
        ),
        (f"outputs = session.run(None, {{{fed}}})", f"return {answer(work)}"),
        files,
        ("onnxruntime-gpu" if provider.startswith("CUDA") else "onnxruntime",),
        arrays=True,
        restores=True,
    )


def openvino(directory: Path, work: Work) -> Loader:
    """Take OpenVINO's model, a file of the graph and one of the weights.

    Raises:
        NotImplementedError: the model takes or gives bfloat16.
    """
    no_bfloat16(work)
    files = _moved(work, directory)
    return Loader(
        "OpenVINO on the CPU",
        ("import numpy as np", "import openvino"),
        (
            f"settings = {dict(work.built.settings)!r}",
            f'compiled = openvino.Core().compile_model(HERE / {files[0]!r}, "CPU", settings)',
            "request = compiled.create_infer_request()",
        ),
        (
            "outputs = list(request.infer(list(given.values()), share_inputs=True).values())",
            f"return {answer(work)}",
        ),
        files,
        ("openvino",),
        arrays=True,
        restores=True,
    )


def aot_inductor(directory: Path, work: Work) -> Loader:
    """Take AOTInductor's package, whose model reads its inputs in the order of the example's memory.

    Raises:
        NotImplementedError: an input of the example is not contiguous.
    """
    if not all(each.is_contiguous() for each in work.batch):
        message = "AOTInductor's model reads inputs in the order of memory that the example had, which is its own"
        raise NotImplementedError(message)
    files = _moved(work, directory)
    return Loader(
        "AOTInductor's compiled package",
        torch_imports("import torch._inductor"),
        (threads_line(work), f"network = torch._inductor.aoti_load_package(str(HERE / {files[0]!r}))"),
        (
            "inputs = [tensor.contiguous() for tensor in given.values()]",
            "with torch.no_grad():",
            "    outputs = network(*inputs)",
            f"return {answer(work)}",
        ),
        files,
        ("torch",),
        restores=True,
    )


def executorch(directory: Path, work: Work) -> Loader:
    """Take ExecuTorch's program, which gives inputs that the model changes before the model's own outputs."""
    files = _moved(work, directory)
    wrapped = work.built.outputs
    places = wrapped.places if wrapped else ()
    count = 1 + max((place for origin, place in places if origin == "output"), default=0)
    return Loader(
        "ExecuTorch's runtime, XNNPACK",
        torch_imports("from executorch.runtime import Runtime"),
        (
            threads_line(work),
            f"program = Runtime.get().load_program(HERE / {files[0]!r})",
            'method = program.load_method("forward")',
        ),
        (
            f"outputs = method.execute([tensor.contiguous() for tensor in given.values()])[-{count}:]",
            f"return {answer(work)}",
        ),
        files,
        ("executorch", "torch"),
        restores=True,
    )


def _moved(work: Work, directory: Path) -> tuple[str, ...]:
    """Move the model's files; they keep their names, by which an ONNX file finds its weights."""
    for path in work.built.files:
        shutil.move(path, directory / path.name)
    return tuple(path.name for path in work.built.files)
