"""Files that runs keep in the store."""

from __future__ import annotations

from pathlib import Path

from almaflow.tracking.store import connect, quiet


def downloaded(uri: str, run_id: str, name: str, scratch: str) -> Path | None:
    """A copy of an artifact under ``scratch``; None where the run has no such file, or none that can be reached.

    Args:
        uri: A resolved store.
        run_id: Of the run that keeps it.
        name: Of the artifact.
        scratch: A directory.
    """
    from mlflow.exceptions import MlflowException

    place = Path(scratch, run_id)
    place.mkdir(exist_ok=True)
    try:
        with quiet():
            return Path(connect(uri).download_artifacts(run_id, name, str(place)))
    except (MlflowException, OSError):
        return None
