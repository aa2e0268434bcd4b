"""Build models that PyTorch itself runs: unchanged, compiled, or compiled ahead of time."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from almaflow.conversions.built.evidence import forget
from almaflow.conversions.built.model import BuiltModel
from almaflow.conversions.built.size import file_mb

if TYPE_CHECKING:
    from almaflow.conversions.built.model import Backend, BuildInputs


def eager(model: torch.nn.Module, _work: BuildInputs) -> BuiltModel:
    """Run the model unchanged."""
    return BuiltModel(model, model=model)


def _inductor(**settings: Any) -> Backend:
    def run(model: torch.nn.Module, work: BuildInputs) -> BuiltModel:
        torch._dynamo.reset()  # noqa: SLF001 - as Alma does: graphs of an earlier step do not count
        forget()
        compiled = torch.compile(model, backend="inductor", **settings)
        compiled(*work.batches[0])
        return BuiltModel(compiled, model=model)

    return run


def aot_inductor_package(model: torch.nn.Module, work: BuildInputs) -> BuiltModel:
    """Export, compile ahead of time, and load the package, which a server without Python could load too."""
    from torch._inductor import aoti_compile_and_package, aoti_load_package

    exported = torch.export.export(model, work.batches[0])
    path = aoti_compile_and_package(exported, package_path=str(Path("model.pt2").absolute()))
    return BuiltModel(aoti_load_package(path), file_mb=file_mb(path))


def tensorrt(model: torch.nn.Module, work: BuildInputs) -> BuiltModel:
    """Export, and build a TensorRT engine ahead of time in the model's type, with TF32 off as in eager."""
    import torch_tensorrt

    exported = torch.export.export(model, work.batches[0])
    build = torch_tensorrt.dynamo.compile
    # Newer versions use the type of each layer and refuse a list of precisions.
    typed = {"use_explicit_typing": True} if "use_explicit_typing" in signature(build).parameters else {}
    return BuiltModel(build(exported, arg_inputs=list(work.batches[0]), disable_tf32=True, **typed))


RUNS: dict[str, Backend] = {
    "EAGER": eager,
    "COMPILE_INDUCTOR": _inductor(),
    "COMPILE_INDUCTOR_DEFAULT": _inductor(),
    # Weights become constants, so that they are folded and packed once.
    "COMPILE_INDUCTOR_FREEZING": _inductor(options={"freezing": True}),
    "AOT_INDUCTOR_PACKAGE": aot_inductor_package,
    "TENSORRT": tensorrt,
}
