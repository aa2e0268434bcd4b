"""The files of runs. A store may be shared: what it names and how large it is is somebody else's choice."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from almaflow.errors import TrackingError
from almaflow.tracking.uris import artifact_root, display_uri, sqlite_path

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

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
        TrackingError: the file is too large to be one of almaflow's, or is with a server that is not named.
    """
    served = _of_run(client, run_id)
    files = served.list_artifacts() if served else client.list_artifacts(run_id)
    entry = next((each for each in files if each.path == name and not each.is_dir), None)
    if entry is None:
        return None
    megabytes = (entry.file_size or 0) / 1e6
    if megabytes > LARGEST_MB:
        message = f"{name} of run {run_id} has {megabytes:.0f} MB, and at most {LARGEST_MB} MB are read"
        raise TrackingError(message)
    place = mkdtemp(dir=scratch)
    if served:
        return Path(served.download_artifacts(name, place))  # type: ignore[no-untyped-call]
    return Path(client.download_artifacts(run_id, name, place))


def has(client: MlflowClient, run_id: str, name: str) -> bool:
    """Return whether a run has a file of this name at its top."""
    served = _of_run(client, run_id)
    files = served.list_artifacts() if served else client.list_artifacts(run_id)
    return name in {entry.path for entry in files}


def copy_to(client: MlflowClient, run_id: str, directory: Path) -> None:
    """Copy a directory's files to a run."""
    served = _of_run(client, run_id)
    if served:
        served.log_artifacts(str(directory))  # type: ignore[no-untyped-call]
    else:
        client.log_artifacts(run_id, str(directory))


def copy_to_model(client: MlflowClient, model: LoggedModel, directory: Path) -> None:
    """Copy a directory's files to a logged model."""
    served = _once_served(client, model.artifact_location, f"model {model.model_id}")
    if served:
        served.log_artifacts(str(directory))  # type: ignore[no-untyped-call]
    else:
        client.log_model_artifacts(model.model_id, str(directory))


def discard_model(client: MlflowClient, model: LoggedModel) -> None:
    """Delete a logged model and its files, which MLflow would keep.

    Files that cannot be deleted stay. So do those that lie elsewhere than MLflow puts a model's: whoever may write to
    the store could name any directory.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    client.delete_logged_model(model.model_id)
    location = model.artifact_location.rstrip("/")
    own = re.fullmatch(r"[\w-]+", model.model_id) and f"/models/{model.model_id}/artifacts"
    if not own or not location.endswith(own) or not urlsplit(location).path.endswith(own):
        return
    with suppress(Exception):
        served = _once_served(client, location, f"model {model.model_id}")
        place = served or get_artifact_repository(location, tracking_uri=client.tracking_uri)
        place.delete_artifacts()  # type: ignore[no-untyped-call]


def _of_run(client: MlflowClient, run_id: str) -> ArtifactRepository | None:
    if sqlite_path(client.tracking_uri) is None:
        return None
    return _once_served(client, client.get_run(run_id).info.artifact_uri, f"run {run_id}")


def _once_served(client: MlflowClient, artifact_uri: str, owner: str) -> ArtifactRepository | None:
    """Return the files of a run or a model that a server wrote to this sqlite store; None where MLflow finds them.

    A server names no place in their URIs (``mlflow-artifacts:/1/ID/artifacts``), and keeps them in ``mlartifacts``
    beside the database unless it is told otherwise. MLflow itself reads them through a server only.

    Raises:
        TrackingError: they do not lie there.
    """
    if sqlite_path(client.tracking_uri) is None:
        return None
    uri = urlsplit(artifact_uri)
    if uri.scheme != "mlflow-artifacts":
        return None
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    root = artifact_root(client.tracking_uri).resolve()
    place = (root / unquote(uri.path).lstrip("/")).resolve()
    if uri.netloc or not root.is_dir() or not place.is_relative_to(root):
        shown = display_uri(client.tracking_uri)
        message = (
            f"the files of {owner} are with the MLflow server that wrote it, and not in {root}: put its directory "
            f"of artifacts there, or give the server's address by --uri in place of {shown}"
        )
        raise TrackingError(message)
    return get_artifact_repository(place.as_uri())
