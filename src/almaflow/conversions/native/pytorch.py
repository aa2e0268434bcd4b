"""Build models that PyTorch itself runs: unchanged, compiled, or compiled ahead of time."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from almaflow.conversions.built.evidence import ExecutionEvidence, forget
from almaflow.conversions.built.freezing import FreezingWatch
from almaflow.conversions.built.layout import LaidOutAs, takes_turns
from almaflow.conversions.built.model import BuiltModel
from almaflow.conversions.built.size import file_mb
from almaflow.conversions.built.tensor_outputs import TensorOutputs

if TYPE_CHECKING:
    from almaflow.conversions.built.model import Backend, BuildInputs


def eager(model: torch.nn.Module, _work: BuildInputs) -> BuiltModel:
    """Run the model unchanged."""
    return BuiltModel(model, model=model)


def _inductor(*, freezing: bool = False) -> Backend:
    def run(model: torch.nn.Module, work: BuildInputs) -> BuiltModel:
        torch._dynamo.reset()  # noqa: SLF001 - as Alma does: graphs of an earlier step do not count
        forget()
        # Dynamo reads it when it passes weights on, before inductor reads its options. It stays set, for graphs that
        # are compiled later: the process ends with its conversion.
        torch._inductor.config.freezing = freezing  # noqa: SLF001 - PyTorch has no public place for it
        watch = FreezingWatch()
        compiled = torch.compile(model, backend=watch if freezing else "inductor")
        example = work.example if work.dynamic else work.batches[0]
        work.dynamic.mark(example)
        compiled(*example)
        return BuiltModel(
            compiled,
            watch.evidence if freezing else ExecutionEvidence,
            model=model,
            settings={"backend": "inductor"},
        )

    return run


def aot_inductor_package(model: torch.nn.Module, work: BuildInputs) -> BuiltModel:
    """Export, compile ahead of time, and load the package, which a server without Python could load too."""
    from torch._inductor import aoti_compile_and_package
    from torch._inductor.package.package import load_package

    example = work.example
    wrapped = TensorOutputs(model)
    exported = torch.export.export(wrapped, example, strict=False, **work.dynamic.for_export(wrapped, example))
    path = aoti_compile_and_package(exported, package_path=str(Path("model.pt2").absolute()))
    # One runner answers one call at a time; older versions have one only.
    runners = work.streams if "num_runners" in signature(load_package).parameters else 1
    call = load_package(path, num_runners=runners) if runners > 1 else load_package(path)
    return BuiltModel(
        wrapped.restored(LaidOutAs(example, call, work.dynamic.axes)),
        lambda: ExecutionEvidence({"aot_inductor_runners": str(runners)}),
        file_mb=file_mb(path),
        notes=takes_turns("AOTInductor", work.streams),
        files=(Path(path),),
        outputs=wrapped,
    )


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
    "COMPILE_INDUCTOR_FREEZING": _inductor(freezing=True),
    "AOT_INDUCTOR_PACKAGE": aot_inductor_package,
    "TENSORRT": tensorrt,
}
