"""Describe a converted model that was kept: its format, its files, and what a caller gives it and gets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from almaflow.errors import RecordError
from almaflow.records.json_files import read_json
from almaflow.records.results import TensorSpec

EXPORT_FILE = "export.json"
EXPORT_DIRECTORY = "export"
"""The directory below a worker's own in which it writes its converted model."""
KEPT = "kept"
"""The directory of a job that has one directory for each conversion that was kept."""


class Format(StrEnum):
    """The kinds of files that hold a converted model."""

    ONNX = "onnx"
    OPENVINO = "openvino"
    TORCHSCRIPT = "torchscript"
    TORCH_EXPORT = "torch_export"
    AOT_INDUCTOR = "aot_inductor"
    EXECUTORCH = "executorch"
    STATE_DICT = "state_dict"


@dataclass(frozen=True)
class Export:
    """A converted model as a directory holds it, beside ``load.py``, which loads it."""

    conversion: str
    model: str
    format: Format
    files: tuple[str, ...]
    """Files of the model, the one to open first."""
    inputs: tuple[TensorSpec, ...]
    """The inputs by name, in the order in which the loaded model takes them."""
    outputs: tuple[TensorSpec, ...]
    """The example's outputs, in the order of ``example.npz``."""
    requirements: tuple[str, ...]
    """What has to be installed, in pip's syntax with exact versions."""
    tolerance_db: float
    """Least SQNR of floating outputs against those of the example."""
    least_equal: float
    """Least share of equal elements of integer and boolean outputs, 0 to 1."""
    threads: int
    device: str
    size_mb: float
    """Size of ``files`` in MB (10^6 bytes)."""
    builder: str | None = None
    """Import path of the callable that builds the module, where the files hold weights only."""
    compiles: bool = False
    """Whether ``torch.compile`` compiles the loaded model at its first call."""
    comparable: bool = True
    """Whether the same inputs give the same outputs: not where the model draws at random or keeps state."""


def read_export(directory: Path | str) -> Export:
    """Read what a directory holds.

    Raises:
        FileNotFoundError: it holds no export.
        RecordError: its description is damaged, or of a form that is unknown here.
    """
    return read_json(Path(directory) / EXPORT_FILE, Export)


def kept_exports(
    job_directory: Path | str, unreadable: list[RecordError] | None = None
) -> dict[str, tuple[Path, Export]]:
    """Return the directory and the description of each conversion that a job has kept, by its name.

    Args:
        job_directory: The job's directory.
        unreadable: Gets the error of each description that cannot be read; such models are left out.
    """
    found: dict[str, tuple[Path, Export]] = {}
    for path in sorted((Path(job_directory) / KEPT).glob(f"*/{EXPORT_FILE}")):
        try:
            export = read_export(path.parent)
        except RecordError as error:
            if unreadable is not None:
                unreadable.append(error)
            continue
        found[export.conversion] = path.parent, export
    return found
