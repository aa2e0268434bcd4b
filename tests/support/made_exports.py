"""Exported folders of models that need NumPy only."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from almaflow.conversions.exports import check
from almaflow.records import TensorSpec, write_json
from almaflow.records.export import Export, Format

if TYPE_CHECKING:
    from pathlib import Path

LOAD = """\
import numpy as np

def load():
    def model(*args):
        return {answer}
    return model
"""


def made_export(
    directory: Path,
    answer: str,
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    kind: Format = Format.OPENVINO,
    **fields: Any,
) -> Export:
    """Write what a worker writes, for a model that answers with an expression of its arguments ``args``."""
    directory.mkdir(parents=True)
    arrays = {f"input_{number}": each for number, each in enumerate(inputs.values())}
    arrays |= {f"output_{number}": each for number, each in enumerate(outputs.values())}
    np.savez(directory / "example.npz", **arrays)
    (directory / "model.bin").write_bytes(b"0" * 1000)
    (directory / "load.py").write_text(LOAD.format(answer=answer), encoding="utf-8")
    (directory / "requirements.txt").write_text(f"numpy=={np.__version__}\n", encoding="utf-8")
    shutil.copyfile(str(check.__file__), directory / "check.py")
    export = Export(
        conversion="ONNX_CPU",
        model="mine",
        format=kind,
        files=("model.bin",),
        inputs=specs(inputs),
        outputs=specs(outputs),
        requirements=(f"numpy=={np.__version__}",),
        tolerance_db=50.0,
        least_equal=0.99,
        threads=1,
        device="cpu",
        size_mb=0.001,
        **fields,
    )
    write_json(directory / "export.json", export)
    return export


def specs(arrays: dict[str, Any]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(each.shape, each.dtype.name, name) for name, each in arrays.items())
