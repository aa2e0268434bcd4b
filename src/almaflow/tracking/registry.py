"""Keep learned costs as versions of a model in MLflow's registry, each with the runs that it was learnt from."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from almaflow.tracking.session import session
from almaflow.tracking.store import prepare

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from almaflow.records import LearnedCosts

ARTIFACTS = "calibration"
LISTED_RUNS = 50
"""The number of runs in a description, which has no room for thousands; the run's artifact lists all."""


def model_name(hardware: str) -> str:
    """Return the name of one machine's registered model."""
    return f"almaflow-calibrated-{hardware}"


def publish(  # noqa: PLR0913, PLR0917 - what a version consists of
    uri: str, experiment_name: str, hardware: str, source: str, learnt: LearnedCosts, files: Sequence[Path]
) -> str:
    """Register learned costs as a new version, unless an equal one is there, and return its number.

    Args:
        uri: A resolved store.
        experiment_name: The experiment of the run that holds the files.
        hardware: The name of the calibrated machine.
        source: ``kernels`` or ``history``.
        learnt: The costs.
        files: The artifacts: the hardware config, and the times of the networks.

    Raises:
        TrackingError: the store cannot be reached or written, or keeps no models.
    """
    from mlflow.exceptions import MlflowException

    experiment_id = prepare(uri, experiment_name)
    name = model_name(hardware)
    with session(uri, "what was learnt could not be registered") as client:
        try:
            client.create_registered_model(name, description="What operations cost on this machine, by conversion.")
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        for version in client.search_model_versions(f"name = '{name}'"):
            if version.tags.get("almaflow.predictor_version") == learnt.version:
                return str(version.version)
        tags = {
            "almaflow.kind": "predictor",
            "almaflow.predictor_version": learnt.version,
            "almaflow.learnt_from": source,
            "almaflow.hardware": hardware,
        }
        run = client.create_run(experiment_id, int(time.time() * 1000), tags=tags, run_name=f"{name} {learnt.version}")
        for file in files:
            client.log_artifact(run.info.run_id, str(file), ARTIFACTS)
        client.log_dict(run.info.run_id, {"runs": list(learnt.runs)}, f"{ARTIFACTS}/runs.json")
        client.set_terminated(run.info.run_id)
        version = client.create_model_version(
            name,
            source=f"{run.info.artifact_uri}/{ARTIFACTS}",
            run_id=run.info.run_id,
            tags=tags,
            description=_description(learnt),
        )
        return str(version.version)


def _description(learnt: LearnedCosts) -> str:
    lines = [f"{name}: {backend.networks} networks" for name, backend in learnt.backends.items()]
    if learnt.runs:
        shown = ", ".join(learnt.runs[:LISTED_RUNS])
        more = f" and {len(learnt.runs) - LISTED_RUNS} more" if len(learnt.runs) > LISTED_RUNS else ""
        lines.append(f"{len(learnt.runs)} runs: {shown}{more}")
    return "\n".join([f"Learnt {learnt.day}.", *lines])
