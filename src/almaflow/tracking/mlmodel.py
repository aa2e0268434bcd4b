"""Write what makes an exported folder an MLflow model: flavours, signature, input example and environment."""

from __future__ import annotations

import warnings
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from almaflow.records.export import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow.entities import LoggedModel
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema

    from almaflow.records.export import Export
    from almaflow.records.results import TensorSpec

CODE = Path(__file__).with_name("pyfunc_model.py")
"""The code that travels with each model."""
MOST_ELEMENTS = 1_000_000
"""Elements of an input example, which MLflow keeps as JSON: as many take some 20 MB."""


def write_mlmodel(directory: Path, export: Export, folder: Path, logged: LoggedModel) -> None:
    """Write the files that MLflow adds to an exported folder.

    The pyfunc runs the folder's own ``load.py``, in each format alike. So the versions of a registered model have the
    same inputs and outputs, whichever conversion they are. No object is pickled.

    Args:
        directory: A new directory.
        export: What the folder holds.
        folder: The exported folder, which is only read.
        logged: The logged model whose files these become.
    """
    import mlflow.pyfunc
    from mlflow.models import Model

    model = Model(
        artifact_path=logged.artifact_location,
        run_id=logged.source_run_id,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
    )
    onnx = export.format is Format.ONNX
    with TemporaryDirectory() as empty, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where the example is too large to be given
        mlflow.pyfunc.save_model(
            path=str(directory),
            python_model=str(CODE),
            signature=signature_of(export),
            input_example=_example(export, folder),
            pip_requirements=[*export.requirements, *([f"onnx=={metadata.version('onnx')}"] if onnx else [])],
            mlflow_model=model,
            uv_project_path=empty,  # else MLflow copies the lock file of a project in the working directory
        )
    if onnx:
        _add_onnx(model, export)
    files = [path for place in (directory, folder) for path in place.rglob("*") if path.is_file()]
    model.model_size_bytes = sum(path.stat().st_size for path in files)
    model.save(str(directory / "MLmodel"))


def signature_of(export: Export) -> ModelSignature:
    """Return names, types and shapes of inputs and outputs; a dimension is -1 where the export takes any size.

    bfloat16, which NumPy lacks, is float32 here, which has all its values.
    """
    from mlflow.models import ModelSignature

    return ModelSignature(inputs=_schema(export.inputs), outputs=_schema(export.outputs))


def _schema(specs: Sequence[TensorSpec]) -> Schema | None:
    from mlflow.types import ColSpec, Schema
    from mlflow.types import TensorSpec as MlflowTensorSpec

    tensors: list[ColSpec | MlflowTensorSpec] = [
        MlflowTensorSpec(_dtype(each), _shape(each), each.name or None) for each in specs
    ]
    return Schema(tensors) if tensors else None


def _shape(spec: TensorSpec) -> list[int]:
    names = spec.dynamic or (None,) * len(spec.shape)
    return [size if name is None else -1 for size, name in zip(spec.shape, names, strict=True)]


def _dtype(spec: TensorSpec) -> np.dtype[Any]:
    return np.dtype("float32" if spec.dtype == "bfloat16" else spec.dtype)


def _example(export: Export, folder: Path) -> dict[str, Any] | None:
    """Return the inputs of the folder's example by their names; None where JSON cannot hold them, or they are large."""
    with np.load(folder / "example.npz") as stored:
        arrays = {str(each.name): stored[f"input_{number}"] for number, each in enumerate(export.inputs)}
    if any(np.iscomplexobj(array) for array in arrays.values()):
        return None
    return arrays if 0 < sum(array.size for array in arrays.values()) <= MOST_ELEMENTS else None


def _add_onnx(model: Model, export: Export) -> None:
    """Add MLflow's flavour of ONNX files, by which ``mlflow.onnx.load_model`` reads the graph."""
    cuda = ["CUDAExecutionProvider"] if export.device == "cuda" else []
    model.add_flavor(
        "onnx",
        onnx_version=metadata.version("onnx"),
        data=export.files[0],
        providers=[*cuda, "CPUExecutionProvider"],
        onnx_session_options={"intra_op_num_threads": export.threads, "inter_op_num_threads": 1},
        code=None,
    )
