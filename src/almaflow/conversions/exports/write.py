"""Write one converted model with its loader, its example and its description to a directory."""

from __future__ import annotations

import shutil
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from packaging.utils import canonicalize_name
from packaging.version import Version

from almaflow.conversions.catalogue.formats import export_format
from almaflow.conversions.exports import check, files, modules
from almaflow.conversions.exports.loader import script
from almaflow.records import TensorSpec, write_json
from almaflow.records.distribution import distribution
from almaflow.records.export import EXPORT_FILE, LEAST_EQUAL, Export, Format, tolerance_db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from almaflow.conversions.exports.loader import Loader, Work
    from almaflow.models.batches import Batch
    from almaflow.models.dynamic import Axes
    from almaflow.models.outputs import Output

WRITERS: dict[Format, Callable[[Path, Work], Loader]] = {
    Format.ONNX: files.onnx,
    Format.OPENVINO: files.openvino,
    Format.AOT_INDUCTOR: files.aot_inductor,
    Format.EXECUTORCH: files.executorch,
    Format.TORCHSCRIPT: modules.torchscript,
    Format.TORCH_EXPORT: modules.torch_export,
    Format.STATE_DICT: modules.state_dict,
}


def write_export(  # noqa: PLR0913 - what an export consists of
    directory: Path,
    work: Work,
    inputs: Batch,
    outputs: Sequence[Output],
    *,
    arithmetic: str,
    comparable: bool,
) -> Export:
    """Write the files of a converted model, ``load.py``, ``check.py``, ``example.npz`` and the description.

    Args:
        directory: A directory that does not exist yet; nothing is left of it where this raises.
        work: The converted model. Its own files are moved.
        inputs: The example batch in the types that the caller gives.
        outputs: What the converted model answers to it.
        arithmetic: The type that the conversion computes in, such as ``float32``, ``tf32`` or ``int8``.
        comparable: Whether the same inputs give the same outputs.

    Raises:
        NotImplementedError: this model cannot be exported in that format; the message says why.
        Exception: whatever a library raises while it saves.
    """
    found = export_format(work.planned, work.model)
    if found.format is None:
        raise NotImplementedError(found.reason)
    directory.mkdir()
    try:
        loader = WRITERS[found.format](directory, work)
        (directory / "load.py").write_text(script(work, loader), encoding="utf-8")
        shutil.copyfile(str(check.__file__), directory / "check.py")
        named = work.output_names if loader.restores and len(work.output_names) == len(outputs) else None
        export = Export(
            conversion=work.planned.name,
            model=work.model.name,
            format=found.format,
            files=loader.files,
            inputs=_specs(work.form.names, inputs, work.axes),
            outputs=_specs(named or [each.name for each in outputs], [each.tensor for each in outputs]),
            requirements=_requirements(loader),
            tolerance_db=tolerance_db(arithmetic, compiles=loader.compiles),
            least_equal=LEAST_EQUAL,
            threads=work.threads,
            device=work.planned.device,
            size_mb=sum((directory / name).stat().st_size for name in loader.files) / 1e6,
            builder=loader.builder,
            compiles=loader.compiles,
            comparable=comparable,
            keeps_memory=loader.keeps_memory(work),
            arithmetic=arithmetic,
        )
        (directory / "requirements.txt").write_text("".join(f"{each}\n" for each in export.requirements), "utf-8")
        arrays = {f"input_{number}": _array(each) for number, each in enumerate(inputs)}
        arrays |= {f"output_{number}": _array(each.tensor) for number, each in enumerate(outputs)}
        np.savez(directory / "example.npz", **arrays)
        write_json(directory / EXPORT_FILE, export)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return export


def _array(tensor: torch.Tensor) -> Any:
    """Return a tensor as NumPy holds it: bfloat16 in float32, which has all its values."""
    plain = tensor.detach().cpu().resolve_neg().resolve_conj()
    return (plain.float() if plain.dtype is torch.bfloat16 else plain).numpy()


def _specs(names: Iterable[str], tensors: Sequence[torch.Tensor], axes: Axes = ()) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            tuple(tensor.shape),
            str(tensor.dtype).removeprefix("torch."),
            name,
            tuple(map(named.get, range(tensor.dim()))) if named else (),
        )
        for name, tensor, named in zip(names, tensors, axes or ({},) * len(tensors), strict=True)
    )


def _version(name: str) -> str | None:
    """Return the version that an index knows; None where it is no distribution, such as a module of the user's own."""
    try:
        return Version(metadata.version(name)).public
    except metadata.PackageNotFoundError:
        return None


def _installed(name: str) -> str:
    """Return the distribution that has a package here: ``onnxruntime-gpu`` may stand in for ``onnxruntime``."""
    homes = metadata.packages_distributions().get(name, ())
    return name if not homes or canonicalize_name(name) in map(canonicalize_name, homes) else homes[0]


def _requirements(loader: Loader) -> tuple[str, ...]:
    """Return the distributions that a loader needs, with the versions that are installed here."""
    wanted = {"numpy", *map(_installed, loader.distributions)}
    if loader.builder:
        top = loader.builder.partition(".")[0]
        # A package in the user's own directory is in no distribution, and one that is installed by a link names none.
        ours = {distribution().name} if top == "almaflow" else set()
        wanted |= {*metadata.packages_distributions().get(top, ())} | ours
    return tuple(f"{name}=={version}" for name in sorted(wanted) if (version := _version(name)))
