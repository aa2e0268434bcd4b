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
GRAPHS = "graphs.txt"
"""The file of a worker, and then of its conversion, with the graphs that the conversion made of the model."""
KEPT = "kept"
"""The directory of a job that has one directory for each conversion that was kept."""

EQUAL_DB = {"float64": 90.0, "float32": 90.0}
EQUAL_OTHER_DB = 60.0
"""Least SQNR of an export against what the conversion itself answered in the job, by arithmetic. The same files in the
same runtime answer equally to the bit; another processor rounds otherwise, which leaves 110 dB and more of float32. The
model in the next narrower type leaves 70 dB at most."""
COMPILED_DB = {"float16": 50.0, "bfloat16": 35.0}
"""The same where ``torch.compile`` compiles at the first call: it may fuse otherwise, and round in other places."""
LEAST_EQUAL = 0.999
"""Least share of equal elements of integer and boolean outputs: all of them, where there are fewer than a thousand."""


def tolerance_db(arithmetic: str, *, compiles: bool) -> float:
    """Return the least SQNR of an export's floating outputs against those that the conversion gave in the job.

    It has nothing to do with how far that conversion is from eager.
    """
    equal = EQUAL_DB.get(arithmetic, EQUAL_OTHER_DB)
    return COMPILED_DB.get(arithmetic, equal) if compiles else equal


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
    keeps_memory: bool = False
    """Whether ``load`` sets the C library's allocator to keep freed memory, unless it is told otherwise."""
    arithmetic: str | None = None
    """The type that the conversion computes in; None in older ones, whose ``tolerance_db`` is that against eager."""


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
