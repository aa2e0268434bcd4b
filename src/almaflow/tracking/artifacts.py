"""Fetch single files of runs. A store may be shared: what it names and how large it is is somebody else's choice."""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from almaflow.errors import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

LARGEST_MB = 256
"""Size of the largest file that is read, in MB (10^6 bytes); almaflow's own are far smaller."""


def fetched(client: MlflowClient, run_id: str, name: str, scratch: str) -> Path | None:
    """Download a file of a run into a new directory under ``scratch``; None where the run has no such file.

    Args:
        client: A client of the store.
        run_id: The ID of the run, which names no path here.
        name: The file's name, which is almaflow's own.
        scratch: A directory for downloads.

    Raises:
        TrackingError: the file is too large to be one of almaflow's.
    """
    entry = next((each for each in client.list_artifacts(run_id) if each.path == name and not each.is_dir), None)
    if entry is None:
        return None
    megabytes = (entry.file_size or 0) / 1e6
    if megabytes > LARGEST_MB:
        message = f"{name} of run {run_id} has {megabytes:.0f} MB, and at most {LARGEST_MB} MB are read"
        raise TrackingError(message)
    return Path(client.download_artifacts(run_id, name, mkdtemp(dir=scratch)))
