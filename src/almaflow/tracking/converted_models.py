"""Log converted models to MLflow, each linked to its conversion's run and with its figures, and register them."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from almaflow.errors import UsageError
from almaflow.tracking.artifacts import copy_to_model, discard_model
from almaflow.tracking.figures import log_model_figures
from almaflow.tracking.mlmodel import write_mlmodel
from almaflow.tracking.session import session
from almaflow.tracking.uris import display_uri, is_server

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

    from almaflow.records.export import Export

READY: Final = "READY"
TAGS = FORMAT, JOB_ID, BUILDER = "almaflow.format", "almaflow.job_id", "almaflow.builder"
"""Tags of a logged model, and of the versions that it is registered as."""
VERSIONS = "mlflow.modelVersions"
"""Tag by which MLflow's page of a logged model shows the versions that it is registered as."""


@dataclass(frozen=True)
class ModelFiles:
    """A converted model that is to be logged."""

    run_id: str
    """The ID of its conversion's run."""
    folder: Path
    """The exported folder."""
    export: Export
    readme: str
    """The folder's README."""
    check: Path
    """Today's ``check.py``, which takes outputs apart; that of a folder which an older version kept may not."""


def log_model(uri: str, model: ModelFiles) -> str | None:
    """Log a converted model as an MLflow model with the params and metrics of its run, unless the store has it.

    Args:
        uri: A resolved store.
        model: The model.

    Returns:
        The ID of the logged model; None where the run was deleted.

    Raises:
        TrackingError: it is not, or not wholly, in the store; nothing of it is left there.
    """
    with session(uri, f"{model.export.conversion} could not be logged as a model", reach=True) as client:
        run = client.get_run(model.run_id)
        if run.info.lifecycle_stage != "active":
            return None
        logged = _logged(client, run) or _log(client, run, model)
        log_model_figures(client, run, logged)
        return str(logged.model_id)


def _logged(client: MlflowClient, run: Run) -> LoggedModel | None:
    """Return the whole model that was logged of a run, and discard what is half logged."""
    found = _logged_of(client, run)
    for each in found:
        if each.status != READY:  # the process that logged it was killed
            discard_model(client, each)
    return next((each for each in found if each.status == READY), None)


def discard_models_of(client: MlflowClient, run: Run) -> None:
    """Delete the models that were logged of a run which is to be deleted; those that are registered stay."""
    if not (run.outputs and run.outputs.model_outputs):  # a store that keeps no models is not asked
        return
    versions = client.search_model_versions(f"run_id = '{run.info.run_id}'")
    registered = {str(each.source).rstrip("/") for each in versions}
    for logged in _logged_of(client, run):
        if logged.artifact_location.rstrip("/") not in registered:
            discard_model(client, logged)


def _logged_of(client: MlflowClient, run: Run) -> list[LoggedModel]:
    """Return almaflow's models of a run."""
    every = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    return [each for each in every if FORMAT in each.tags]


def _log(client: MlflowClient, run: Run, model: ModelFiles) -> LoggedModel:
    from mlflow.entities import LoggedModelOutput

    export = model.export
    tags = {FORMAT: export.format.value, JOB_ID: run.data.tags.get(JOB_ID), BUILDER: export.builder}
    logged = client.create_logged_model(
        run.info.experiment_id,
        name=re.sub(r"[/:.%\"']", "_", str(run.info.run_name)),
        source_run_id=run.info.run_id,
        tags={key: value for key, value in tags.items() if value},
        params=run.data.params,
    )
    try:
        with TemporaryDirectory() as scratch:
            added = Path(scratch, "model")
            write_mlmodel(added, export, model.folder, logged)
            (added / "README.md").write_text(model.readme, encoding="utf-8")
            copyfile(model.check, added / "check.py")
            copy_to_model(client, logged, model.folder)
            copy_to_model(client, logged, added)
        client.log_outputs(run.info.run_id, [LoggedModelOutput(logged.model_id, step=0)])
        return client.finalize_logged_model(logged.model_id, READY)
    except BaseException:
        with suppress(Exception):
            discard_model(client, logged)
        raise


def check_registration(uri: str, name: str, alias: str | None, run_id: str) -> None:
    """Ask the registry about a name before anything is written.

    Args:
        uri: A resolved store.
        name: The name of the registered model.
        alias: An alias that is to name the version.
        run_id: The ID of the conversion's run.

    Raises:
        UsageError: the registry takes no model of this name, or no such alias; or nobody could load the version, since
            a server keeps the files of the run's experiment and the store names none.
        TrackingError: the store cannot be reached, or keeps no models or no such run.
    """
    if "@" in name:
        message = f"--register {name}: MLflow takes what follows an @ for an alias; give the alias by --alias"
        raise UsageError(message)
    if alias is not None and (not re.fullmatch(r"[\w-]{1,255}", alias) or re.fullmatch(r"latest|v\d+", alias.lower())):
        message = f"--alias {alias}: MLflow takes letters, digits, _ and -, and keeps latest, v1, v2 ... to itself"
        raise UsageError(message)
    with session(uri, f"{name} cannot be registered", reach=True) as client:
        from mlflow.exceptions import MlflowException

        try:
            client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code == "INVALID_PARAMETER_VALUE":
                message = f"--register {name}: {error.message}"
                raise UsageError(message) from error
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        if not is_server(uri) and client.get_run(run_id).info.artifact_uri.startswith("mlflow-artifacts:"):
            message = (
                f"--register {name}: files of this experiment go through an MLflow server, and nobody could load the "
                f"version without it: give its address by --uri http://HOST:PORT in place of {display_uri(uri)}"
            )
            raise UsageError(message)


def register_model(uri: str, model_id: str, name: str, alias: str | None) -> str:
    """Register a logged model as a version, unless it is one already, and return the version's number.

    Args:
        uri: A resolved store.
        model_id: The ID of the logged model.
        name: The name of the registered model, which is created where it is new.
        alias: An alias that is to name this version from now on.

    Raises:
        TrackingError: the store cannot be reached or written, or keeps no models.
    """
    then = f"the model is logged there as {model_id}, and the same command registers it"
    with session(uri, f"{name} could not be registered", then) as client:
        logged = client.get_logged_model(model_id)
        found = client.search_model_versions(f"run_id = '{logged.source_run_id}'")
        same = [each for each in found if each.name == name and each.source == logged.artifact_location]
        version = str(same[0].version) if same else _new_version(client, logged, name)
        if alias is not None:
            client.set_registered_model_alias(name, alias, version)
        return version


def _new_version(client: MlflowClient, logged: LoggedModel, name: str) -> str:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(
        name,
        source=logged.artifact_location,  # a models:/ URI is looked up in the store of the process, not the client's
        run_id=logged.source_run_id,
        tags={key: value for key, value in logged.tags.items() if key in TAGS},
        description=logged.name,
        model_id=logged.model_id,
    )
    version = {"name": name, "version": str(made.version)}
    links = json.loads(client.get_logged_model(logged.model_id).tags.get(VERSIONS, "[]"))
    if version["version"] not in {str(each["version"]) for each in links if each["name"] == name}:  # a server sets it
        client.set_logged_model_tags(logged.model_id, {VERSIONS: json.dumps([*links, version])})
    return version["version"]
